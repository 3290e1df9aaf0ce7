import { type FileHandle, open, rename, unlink } from 'node:fs/promises'
import { syncDirectory } from '../directories.ts'
import { StarlingError, systemCode } from '../errors.ts'

/**
 * The port through which every change of the journal's files goes, so that a test can record the
 * order of writes, syncs and renames, and can make one fail. Reading needs no port.
 */
export interface JournalDisk {
  /** Makes a new file; fails when there is one. */
  create(path: string): Promise<JournalFile>
  /** Opens a file that exists, to go on at `offset`. */
  resume(path: string, offset: number): Promise<JournalFile>
  rename(from: string, to: string): Promise<void>
  remove(path: string): Promise<void>
  /** Makes creations, renames and removals in a directory durable. */
  syncDirectory(path: string): Promise<void>
}

export interface JournalFile {
  /** Writes all of the bytes at the end. */
  append(bytes: Uint8Array): Promise<void>
  /** Makes all that was written durable. Never repeated after a failure: see `Journal.append`. */
  sync(): Promise<void>
  truncate(sizeBytes: number): Promise<void>
  close(): Promise<void>
}

export const nodeDisk: JournalDisk = {
  create: async path => journalFile(await open(path, 'wx'), 0),
  resume: async (path, offset) => journalFile(await open(path, 'r+'), offset),
  rename,
  remove: unlink,
  syncDirectory
}

/** An error of the operating system in our words. */
export function diskError(error: unknown, doing: string): StarlingError {
  if (error instanceof StarlingError) return error
  const full = systemCode(error) === 'ENOSPC' || systemCode(error) === 'EDQUOT'
  return full
    ? new StarlingError('DISK_FULL', `no room left while ${doing}`, { cause: error })
    : new StarlingError('DISK_FAILED', `the disk failed while ${doing}`, { cause: error })
}

function journalFile(handle: FileHandle, start: number): JournalFile {
  let offset = start
  return {
    async append(bytes) {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, offset)
        done += bytesWritten
        offset += bytesWritten
      }
    },
    sync: () => handle.datasync(),
    async truncate(sizeBytes) {
      await handle.truncate(sizeBytes)
      offset = sizeBytes
    },
    close: () => handle.close()
  }
}
