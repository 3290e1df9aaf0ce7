import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises'
import { syncDirectory } from '../directories.ts'
import { StarlingError, systemCode } from '../errors.ts'
import { FileReads } from './file-reads.ts'

/**
 * The port through which every write, sync, rename and removal of the store goes, so that a test
 * can record their order and break each of them. Looking at files needs no port.
 */
export interface Disk {
  /** Opens a file for reading and writing; makes it when absent, keeps its bytes when not. */
  openFile(path: string): Promise<DiskFile>
  /** Gives a file another name on the same file system, in place of what had that name. */
  rename(from: string, to: string): Promise<void>
  /** Makes the names in a directory durable. */
  syncDirectory(path: string): Promise<void>
  /** Makes a directory and those above it; content when it is there. */
  makeDirectory(path: string): Promise<void>
  /** Removes a file; content when it is gone already. */
  remove(path: string): Promise<void>
}

export interface DiskFile {
  /** Writes all of the chunks, one after the other, from `position` bytes on. */
  write(chunks: readonly Uint8Array[], position: number): Promise<void>
  /** Fills the buffer as far as the file goes; gives the number of bytes read, 0 at the end. */
  read(buffer: Uint8Array, position: number): Promise<number>
  /** `links` counts the names of the file. */
  stat(): Promise<{ readonly sizeBytes: number; readonly links: number }>
  /** Makes the bytes and the size durable. After a failure the bytes must not be trusted. */
  datasync(): Promise<void>
  /** Waits for what is under way, then closes. */
  close(): Promise<void>
}

export const nodeDisk: Disk = {
  async openFile(path) {
    return new NodeFile(await open(path, constants.O_RDWR | constants.O_CREAT, 0o644))
  },
  rename,
  syncDirectory,
  async makeDirectory(path) {
    await mkdir(path, { recursive: true })
  },
  async remove(path) {
    await rm(path, { force: true })
  }
}

/** What the operating system said, in our vocabulary: `DISK_FULL`, or else `DISK_FAILED`. */
export function diskError(error: unknown, what: string): StarlingError {
  if (error instanceof StarlingError) return error
  const code = systemCode(error)
  return code === 'ENOSPC' || code === 'EDQUOT'
    ? new StarlingError('DISK_FULL', `no room left: ${what}`, { cause: error })
    : new StarlingError('DISK_FAILED', `the disk failed: ${what}`, { cause: error })
}

class NodeFile implements DiskFile {
  readonly #handle: FileHandle
  readonly #reads: FileReads

  constructor(handle: FileHandle) {
    this.#handle = handle
    this.#reads = new FileReads(handle)
  }

  async write(chunks: readonly Uint8Array[], position: number): Promise<void> {
    let rest = chunks
    let at = position
    while (rest.length > 0) {
      const { bytesWritten } = await this.#handle.writev(rest, at)
      at += bytesWritten
      rest = after(rest, bytesWritten)
    }
  }

  read(buffer: Uint8Array, position: number): Promise<number> {
    return this.#reads.fill(buffer, position)
  }

  async stat(): Promise<{ sizeBytes: number; links: number }> {
    const { size, nlink } = await this.#handle.stat()
    return { sizeBytes: size, links: nlink }
  }

  datasync(): Promise<void> {
    return this.#handle.datasync()
  }

  close(): Promise<void> {
    return this.#reads.close()
  }
}

/** What is left of the chunks once their first `bytes` bytes are written: writev may stop short. */
function after(chunks: readonly Uint8Array[], bytes: number): readonly Uint8Array[] {
  let skip = bytes
  for (const [index, chunk] of chunks.entries()) {
    if (skip < chunk.length) return [chunk.subarray(skip), ...chunks.slice(index + 1)]
    skip -= chunk.length
  }
  return []
}
