import type { Digest } from '../digest.ts'
import type { CheckedBlob } from './checked-blob.ts'
import { type Disk, diskError } from './disk.ts'

/** As many files at a time as Node has threads for the disk, and as many again that are being opened. */
const PARALLEL_FILES = 8

/** A small file that is complete and synced, under a name that means nothing yet. */
export interface Staged {
  readonly path: string
  readonly sizeBytes: number
}

/**
 * Writes and syncs blobs as files of their own.
 *
 * @throws `DISK_FULL` or `DISK_FAILED`, and then no file is left
 */
export async function stage(
  blobs: readonly CheckedBlob[],
  disk: Disk,
  nextPath: () => string
): Promise<Map<Digest, Staged>> {
  const files = blobs.map(blob => ({ ...blob, path: nextPath() }))
  const waiting = [...files].values()
  const lane = async () => {
    for (const { path, bytes } of waiting) await writeSynced(disk, path, bytes)
  }
  const lanes = await Promise.allSettled(Array.from({ length: PARALLEL_FILES }, lane))
  const failed = lanes.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') {
    await Promise.allSettled(files.map(({ path }) => disk.remove(path)))
    throw diskError(failed.reason, 'writing small blobs')
  }
  return new Map(
    files.map(({ digest, path, bytes }) => [digest, { path, sizeBytes: bytes.length }])
  )
}

async function writeSynced(disk: Disk, path: string, bytes: Uint8Array): Promise<void> {
  const file = await disk.openFile(path)
  try {
    await file.write([bytes], 0)
    await file.datasync()
  } finally {
    await file.close()
  }
}
