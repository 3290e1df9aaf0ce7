import { dirname } from 'node:path'
import type { Digest } from '../digest.ts'
import { systemCode } from '../errors.ts'
import type { Log } from '../log.ts'
import { type Disk, diskError } from './disk.ts'
import { blobPath, type Layout, scanBlobs, shardPath, sizeOf } from './layout.ts'
import { Listeners } from './listeners.ts'
import type { BlobStat, Verified } from './partial.ts'
import { SizeIndex } from './size-index.ts'
import type { Staged } from './staging.ts'
import { Turns } from './turns.ts'

export interface HoldingsOptions {
  readonly layout: Layout
  readonly disk: Disk
  readonly log: Log
  readonly lockWaitMs?: number
  readonly signal?: AbortSignal
}

/**
 * The blobs that are complete, verified and durable here. How one comes to be held, and how it
 * goes, is written in this file and nowhere else.
 */
export class Holdings {
  readonly held: Listeners<[Digest, BlobStat]>
  readonly lost: Listeners<[Digest]>
  readonly #options: HoldingsOptions
  readonly #index: SizeIndex
  readonly #sizes: Map<Digest, number>
  readonly #turns = new Turns<Digest>()
  /** Directories whose own name is known to be durable. */
  readonly #shards = new Set<string>()
  #bytes = 0

  /** Finds what is held. Throws `DATA_LOCKED`, or `DISK_FAILED` when the disk cannot be trusted. */
  static async open(options: HoldingsOptions): Promise<Holdings> {
    const { layout, disk, log, lockWaitMs, signal } = options
    const { index, sizes } = await SizeIndex.open({
      directory: layout.index,
      log,
      ...(lockWaitMs !== undefined && { lockWaitMs }),
      ...(signal && { signal })
    })
    try {
      const there: (readonly Digest[])[] = []
      const unindexed = new Map<Digest, number>()
      for await (const digests of scanBlobs(layout)) {
        there.push(digests)
        for (const digest of digests) {
          if (sizes.has(digest)) continue
          const size = await sizeOf(blobPath(layout, digest))
          if (size !== undefined) unindexed.set(digest, size)
        }
      }
      const gone = missingFrom(there, sizes)
      for (const digest of gone) sizes.delete(digest)
      for (const [digest, size] of unindexed) sizes.set(digest, size)
      await syncNames(disk, layout, unindexed.keys())
      await index.update(unindexed, gone)
      log.info({ blobs: sizes.size, unindexed: unindexed.size }, 'blobs found')
      return new Holdings(options, index, sizes)
    } catch (error) {
      await index.close()
      throw diskError(error, 'looking for the blobs')
    }
  }

  private constructor(options: HoldingsOptions, index: SizeIndex, sizes: Map<Digest, number>) {
    this.#options = options
    this.#index = index
    this.#sizes = sizes
    for (const size of sizes.values()) this.#bytes += size
    this.held = new Listeners(options.log)
    this.lost = new Listeners(options.log)
  }

  stat(digest: Digest): BlobStat | undefined {
    const sizeBytes = this.#sizes.get(digest)
    return sizeBytes === undefined ? undefined : { sizeBytes }
  }

  digests(): IterableIterator<Digest> {
    return this.#sizes.keys()
  }

  totals(): { count: number; bytes: number } {
    return { count: this.#sizes.size, bytes: this.#bytes }
  }

  /**
   * Gives verified bytes their final name, also when that blob is held already: nobody has read the
   * file it has for a while, and to push again is how a client mends what has rotted unseen. The
   * order is that of design section 4; when a step fails, the file is removed under either name,
   * since a sync that failed once may claim success when it is asked again.
   */
  keep(digest: Digest, verified: Verified): Promise<BlobStat> {
    return this.#turns.take(digest, async () => {
      const { layout, disk } = this.#options
      const path = blobPath(layout, digest)
      const { sizeBytes } = verified
      if (this.#sizes.has(digest)) {
        if ((await sizeOf(path)) === sizeBytes) return this.#replace(digest, verified)
        // A push of what is held repairs a file that was cut short behind our back. The old one
        // goes first, with its index entry, which would vouch for the new name before its sync.
        await this.#dropDamaged(digest, 'its file is missing or has another size')
      }
      try {
        await verified.sync()
        await this.#makeShards([digest])
        await disk.rename(verified.path, path)
        await disk.syncDirectory(dirname(path))
      } catch (error) {
        await Promise.allSettled([disk.remove(verified.path), disk.remove(path)])
        throw diskError(error, `keeping ${digest}`)
      }
      await this.#index.update(new Map([[digest, sizeBytes]]), [])
      this.#hold(digest, sizeBytes)
      return { sizeBytes }
    })
  }

  /**
   * As {@link keep}, for many synced files: each of the later steps is done for all of them before
   * the next, so that one sync of a directory, or of a journal, serves many. All are kept or none;
   * the files of what is held by now are removed.
   */
  keepAll(staged: ReadonlyMap<Digest, Staged>): Promise<void> {
    return this.#turns.takeAll(staged.keys(), async () => {
      const { layout, disk } = this.#options
      const files = [...staged].map(([digest, { path, sizeBytes }]) => ({
        ...{ digest, sizeBytes, from: path, to: blobPath(layout, digest) }
      }))
      const absent = files.filter(({ digest }) => !this.#sizes.has(digest))
      const held = files.filter(({ digest }) => this.#sizes.has(digest))
      await Promise.allSettled(held.map(({ from }) => disk.remove(from)))
      try {
        await this.#makeShards(absent.map(({ digest }) => digest))
        await allEnded(absent.map(({ from, to }) => disk.rename(from, to)))
        const shards = new Set(absent.map(({ to }) => dirname(to)))
        await allEnded([...shards].map(shard => disk.syncDirectory(shard)))
      } catch (error) {
        const names = absent.flatMap(({ from, to }) => [from, to])
        await Promise.allSettled(names.map(name => disk.remove(name)))
        throw diskError(error, 'keeping small blobs')
      }
      await this.#index.update(new Map(absent.map(each => [each.digest, each.sizeBytes])), [])
      for (const { digest, sizeBytes } of absent) this.#hold(digest, sizeBytes)
    })
  }

  /** The old file is in place until the new one is: whether it is sound nobody knows. */
  async #replace(digest: Digest, { path: from, sizeBytes, sync }: Verified): Promise<BlobStat> {
    const { layout, disk } = this.#options
    const path = blobPath(layout, digest)
    try {
      await sync()
      await disk.rename(from, path)
      await disk.syncDirectory(dirname(path))
    } catch (error) {
      await disk.remove(from).catch(() => undefined)
      throw diskError(error, `keeping ${digest}`)
    }
    return { sizeBytes }
  }

  /**
   * Lets a blob go, if it may when its turn has come; streams that read it run to their end.
   *
   * @returns whether it went
   */
  remove(digest: Digest, mayGo: () => boolean): Promise<boolean> {
    return this.#turns.take(digest, async () => {
      if (!this.#sizes.has(digest) || !mayGo()) return false
      await this.#drop(digest)
      return true
    })
  }

  /**
   * Drops a blob that was found damaged, and tells the listeners. By its turn the blob may have
   * been replaced by a sound one, so the damage is looked at again first.
   */
  lose(digest: Digest, reason: string, isDamaged: () => Promise<boolean>): Promise<void> {
    return this.#turns.take(digest, async () => {
      if (!this.#sizes.has(digest) || !(await isDamaged())) return
      await this.#dropDamaged(digest, reason)
    })
  }

  /** Waits for what has its turn, then lets go of the index. */
  async close(): Promise<void> {
    await this.#turns.over()
    await this.#index.close()
  }

  async #dropDamaged(digest: Digest, reason: string): Promise<void> {
    const { log } = this.#options
    // Peers give it again; what none of them has, the status names as lost.
    log.warn({ digest, reason }, 'damaged blob dropped')
    await this.#drop(digest).catch(error => {
      log.warn({ digest, err: error }, 'damaged blob not removed')
    })
    this.lost.tell(digest)
  }

  /** The reverse of `keep`: out of memory, out of the index, off the disk. */
  async #drop(digest: Digest): Promise<void> {
    const { layout, disk } = this.#options
    if (!this.#sizes.has(digest)) return
    this.#forget(digest)
    await this.#index.update(new Map(), [digest])
    const path = blobPath(layout, digest)
    try {
      await disk.remove(path)
      await disk.syncDirectory(dirname(path))
    } catch (error) {
      // The directory itself may be gone, and with it what was to be removed.
      if (systemCode(error) !== 'ENOENT') throw diskError(error, `removing ${digest}`)
    }
  }

  #forget(digest: Digest): void {
    this.#bytes -= this.#sizes.get(digest) ?? 0
    this.#sizes.delete(digest)
  }

  #hold(digest: Digest, sizeBytes: number): void {
    this.#sizes.set(digest, sizeBytes)
    this.#bytes += sizeBytes
    this.held.tell(digest, { sizeBytes })
  }

  /** The name of a shard must be durable too, before anything in it is. */
  async #makeShards(digests: readonly Digest[]): Promise<void> {
    const { layout, disk } = this.#options
    const all = new Set(digests.map(digest => shardPath(layout, digest)))
    const shards = [...all].filter(shard => !this.#shards.has(shard))
    for (const shard of shards) await disk.makeDirectory(shard)
    for (const tree of new Set(shards.map(dirname))) await disk.syncDirectory(tree)
    for (const shard of shards) this.#shards.add(shard)
  }
}

/** Waits for all to end, however they do, then throws what the first of them threw. */
async function allEnded(steps: readonly Promise<void>[]): Promise<void> {
  const ends = await Promise.allSettled(steps)
  const failed = ends.find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}

/** The digests of the index that have no file, which is none of them after most starts. */
function missingFrom(
  there: readonly (readonly Digest[])[],
  indexed: ReadonlyMap<Digest, number>
): Digest[] {
  const files = there.flat().filter(digest => indexed.has(digest))
  if (files.length === indexed.size) return []
  const found = new Set(files)
  return [...indexed.keys()].filter(digest => !found.has(digest))
}

/**
 * Makes names durable that a process found but may have died before syncing: what has an index
 * entry was synced before the entry was written, all else is synced now.
 */
async function syncNames(disk: Disk, layout: Layout, digests: Iterable<Digest>): Promise<void> {
  const shards = new Set([...digests].map(digest => shardPath(layout, digest)))
  for (const shard of shards) await disk.syncDirectory(shard)
  for (const tree of new Set([...shards].map(dirname))) await disk.syncDirectory(tree)
}
