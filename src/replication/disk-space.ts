import { statfs } from 'node:fs/promises'
import type { Log } from '../log.ts'

/**
 * `full`: above the limit, so that nothing is taken in; `failed`: the file system cannot be asked.
 */
export const DISK_STATES = ['ok', 'full', 'failed'] as const

/** The file system of the data directory, as far as is known now. */
export interface DiskSpace {
  readonly totalBytes: number
  readonly usedBytes: number
  /** Above it no blob is taken in: neither pushed nor copied from peers. */
  readonly limitBytes: number
  readonly state: (typeof DISK_STATES)[number]
}

/** Room that was promised: to a push, whose copies need as much elsewhere, or to a copy. */
interface Claim {
  readonly for: 'push' | 'copy'
  readonly leftBytes: () => number
}

const LOOK_INTERVAL_MS = 2_000

/**
 * Watches how full the disk is, whoever fills it, and whom its room is promised to. Between two
 * looks it counts what this process says that it writes.
 */
export class DiskWatch {
  readonly #dataDir: string
  readonly #maxUsedShare: number
  readonly #log: Log
  readonly #claims = new Set<Claim>()
  #found: Omit<DiskSpace, 'state'> = { totalBytes: 0, usedBytes: 0, limitBytes: 0 }
  #failed = false
  #writtenBytes = 0
  #writtenAtLookBytes = 0
  #told: DiskSpace['state'] = 'ok'
  #timer: NodeJS.Timeout | undefined

  private constructor(dataDir: string, maxUsedShare: number, log: Log) {
    this.#dataDir = dataDir
    this.#maxUsedShare = maxUsedShare
    this.#log = log
  }

  /** @param options.maxUsedShare of the file system, from 0 to 1 */
  static async open(options: {
    dataDir: string
    maxUsedShare: number
    log: Log
  }): Promise<DiskWatch> {
    const watch = new DiskWatch(options.dataDir, options.maxUsedShare, options.log)
    await watch.look()
    watch.#timer = setInterval(() => void watch.look(), LOOK_INTERVAL_MS).unref()
    return watch
  }

  space(): DiskSpace {
    const { totalBytes, limitBytes } = this.#found
    const usedBytes = this.#found.usedBytes + this.#writtenBytes - this.#writtenAtLookBytes
    const state = this.#failed ? 'failed' : usedBytes > limitBytes ? 'full' : 'ok'
    return { totalBytes, usedBytes, limitBytes, state }
  }

  /** Bytes that fit below the limit and are promised to nobody; 0 while the disk is unreadable. */
  freeBytes(): number {
    const { usedBytes, limitBytes, state } = this.space()
    if (state === 'failed') return 0
    return Math.max(0, limitBytes - usedBytes - this.#sum(() => true))
  }

  /** What is still to come of the pushes that room is promised to. */
  pushedBytes(): number {
    return this.#sum(claim => claim.for === 'push')
  }

  /**
   * Promises room to bytes on their way.
   *
   * @param leftBytes how many are still to be written, whenever it is asked
   * @returns how to take the promise back, once they are there or will not come
   */
  claim(whom: Claim['for'], leftBytes: () => number): () => void {
    const claim = { for: whom, leftBytes }
    this.#claims.add(claim)
    return () => this.#claims.delete(claim)
  }

  /** Counts bytes that this process is writing, until the next look finds them. */
  wrote(bytes: number): void {
    this.#writtenBytes += bytes
  }

  /** Looks now: space may have been freed since the last look. */
  async look(): Promise<void> {
    // What is written during the look may be counted twice until the next, and is never missed.
    const writtenBytes = this.#writtenBytes
    try {
      const { blocks, bavail, bfree, bsize } = await statfs(this.#dataDir)
      // As `df` has it: what is reserved for root counts neither as free nor as part of the whole.
      const usedBytes = (blocks - bfree) * bsize
      const totalBytes = usedBytes + bavail * bsize
      const limitBytes = Math.floor(totalBytes * this.#maxUsedShare)
      this.#found = { totalBytes, usedBytes, limitBytes }
      this.#writtenAtLookBytes = writtenBytes
      this.#failed = false
    } catch (error) {
      if (!this.#failed) this.#log.error({ err: error }, 'disk unreadable')
      this.#failed = true
    }
    const space = this.space()
    if (space.state !== this.#told) this.#log.warn({ ...space }, 'disk state changed')
    this.#told = space.state
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #sum(isCounted: (claim: Claim) => boolean): number {
    let bytes = 0
    for (const claim of this.#claims) if (isCounted(claim)) bytes += claim.leftBytes()
    return bytes
  }
}
