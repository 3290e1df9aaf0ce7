import { readdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { algorithmOf, type Digest, hexOf, tryDigest } from '../digest.ts'
import { systemCode } from '../errors.ts'
import { type Disk, diskError } from './disk.ts'

const ALGORITHMS = ['sha256', 'sha512'] as const

/** Where things are below the data directory. Paths are built only from parsed digests and names. */
export interface Layout {
  /** `<algorithm>/<first 2 hex digits>/<hex>`: complete and verified blobs. */
  readonly blobs: string
  /** One directory per algorithm, in which the shards are made when first needed. */
  readonly trees: readonly string[]
  /** Files on their way to become blobs, and the session files of uploads. */
  readonly partial: string
  /** The Level index of sizes; can be lost at any time. */
  readonly index: string
  /** The Level index of manifests' bytes; can be lost at any time. */
  readonly copies: string
}

export function layoutOf(dataDir: string): Layout {
  const blobs = join(dataDir, 'blobs')
  return {
    blobs,
    trees: ALGORITHMS.map(algorithm => join(blobs, algorithm)),
    partial: join(dataDir, 'partial'),
    index: join(dataDir, 'index', 'blobs'),
    copies: join(dataDir, 'index', 'manifests')
  }
}

/** Makes what is absent of it, durably. Throws `DISK_FULL` or `DISK_FAILED`. */
export async function makeLayout(disk: Disk, layout: Layout): Promise<void> {
  const dataDir = dirname(layout.blobs)
  try {
    for (const path of [...layout.trees, layout.partial, layout.index]) {
      await disk.makeDirectory(path)
    }
    for (const path of [layout.blobs, dataDir]) await disk.syncDirectory(path)
  } catch (error) {
    throw diskError(error, `making the directories below ${dataDir}`)
  }
}

export function shardPath(layout: Layout, digest: Digest): string {
  return join(layout.blobs, algorithmOf(digest), hexOf(digest).slice(0, 2))
}

export function blobPath(layout: Layout, digest: Digest): string {
  return join(shardPath(layout, digest), hexOf(digest))
}

/**
 * The digests that have a file under their final name, shard by shard; files of other names are
 * passed over.
 */
export async function* scanBlobs(layout: Layout): AsyncIterable<readonly Digest[]> {
  for (const algorithm of ALGORITHMS) {
    const tree = join(layout.blobs, algorithm)
    for (const shard of await readdir(tree)) {
      const names = await namesIn(join(tree, shard))
      yield names.flatMap(name =>
        name.startsWith(shard) ? (tryDigest(`${algorithm}:${name}`) ?? []) : []
      )
    }
  }
}

/** The size of a file in bytes; `undefined` when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const found = await stat(path)
    return found.isFile() ? found.size : undefined
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

async function namesIn(directory: string): Promise<readonly string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    // A stray file where a shard should be is somebody else's and holds no blobs.
    if (systemCode(error) === 'ENOTDIR') return []
    throw error
  }
}
