import { createReadStream } from 'node:fs'
import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { finishDigest, parseDigest, startDigest } from '../../src/digest.ts'

/** The unit that `stat` counts in, whatever the file system's is. */
const BLOCK_BYTES = 512

/** What a data directory holds under final names. */
export interface BlobFiles {
  readonly count: number
  readonly bytes: number
}

/**
 * Reads every file under `DATA/blobs` and throws when one's name is not the digest of its bytes:
 * under its final name a blob is whole, whatever happened to the process that wrote it.
 */
export async function verifyBlobFiles(dataDir: string): Promise<BlobFiles> {
  let count = 0
  let bytes = 0
  for (const path of await filesUnder(join(dataDir, 'blobs'))) {
    const [algorithm = '', , hex = ''] = path.split('/').slice(-3)
    const expected = parseDigest(`${algorithm}:${hex}`)
    const hash = startDigest(algorithm === 'sha512' ? 'sha512' : 'sha256')
    await pipeline(createReadStream(path, { highWaterMark: 1024 * 1024 }), hash, { end: false })
    const actual = finishDigest(algorithm === 'sha512' ? 'sha512' : 'sha256', hash)
    if (actual !== expected) throw new Error(`${path} holds bytes of ${actual}`)
    count += 1
    bytes += (await stat(path)).size
  }
  return { count, bytes }
}

/** What everything under `DATA/partial` takes of the disk, holes left out: what is on its way. */
export async function partialBytes(dataDir: string): Promise<number> {
  const paths = await filesUnder(join(dataDir, 'partial'))
  // A file may be renamed into place between being listed and being asked for its size.
  const sizes = await Promise.all(
    paths.map(path =>
      stat(path).then(
        ({ size, blocks }) => Math.min(size, blocks * BLOCK_BYTES),
        () => 0
      )
    )
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}

async function filesUnder(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  return entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
}
