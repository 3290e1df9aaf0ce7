import { statfs } from 'node:fs/promises'
import type { Log } from '../log.ts'

/** The file system of the data directory, as last looked at. */
export interface DiskSpace {
  readonly totalBytes: number
  readonly usedBytes: number
  /** Above it no blob is taken in: neither pushed nor copied from peers. */
  readonly limitBytes: number
  readonly state: 'ok' | 'full' | 'failed'
}

const LOOK_INTERVAL_MS = 2_000

/** Watches how full the disk is, whoever fills it. */
export class DiskWatch {
  readonly #dataDir: string
  readonly #maxUsedShare: number
  readonly #log: Log
  #space: DiskSpace = { totalBytes: 0, usedBytes: 0, limitBytes: 0, state: 'ok' }
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
    await watch.#look()
    watch.#timer = setInterval(() => void watch.#look(), LOOK_INTERVAL_MS).unref()
    return watch
  }

  space(): DiskSpace {
    return this.#space
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #look(): Promise<void> {
    const before = this.#space.state
    try {
      const { blocks, bavail, bfree, bsize } = await statfs(this.#dataDir)
      // As `df` has it: what is reserved for root counts neither as free nor as part of the whole.
      const usedBytes = (blocks - bfree) * bsize
      const totalBytes = usedBytes + bavail * bsize
      const limitBytes = Math.floor(totalBytes * this.#maxUsedShare)
      const state = usedBytes > limitBytes ? 'full' : 'ok'
      this.#space = { totalBytes, usedBytes, limitBytes, state }
    } catch (error) {
      this.#space = { ...this.#space, state: 'failed' }
      if (before !== 'failed') this.#log.error({ err: error }, 'disk unreadable')
    }
    if (this.#space.state !== before) this.#log.warn({ ...this.#space }, 'disk state changed')
  }
}
