/** Beyond so many portions that are not durable, writes wait: the disk sets the pace. */
const MAX_UNSYNCED_PORTIONS = 2

/** Writes at once: Node has four threads for files, and a slow disk may not take all of them. */
const MAX_WRITES = 2

/**
 * Lets writes through, and sends what was written to the disk in portions while more comes, so that
 * the last sync of a blob of any size has little left to do (design section 4). The first sync that
 * fails is the last.
 */
export class PieceWrites {
  readonly #portionBytes: number
  readonly #sync: () => Promise<void>
  #writing = 0
  #unsyncedBytes = 0
  #syncing: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined
  #changed = Promise.withResolvers<void>()

  constructor(portionBytes: number, sync: () => Promise<void>) {
    this.#portionBytes = portionBytes
    this.#sync = sync
  }

  /** Does a write of so many bytes when there is room. Throws what it throws, or a sync has thrown. */
  async take(bytes: number, write: () => Promise<void>): Promise<void> {
    const maxUnsyncedBytes = MAX_UNSYNCED_PORTIONS * this.#portionBytes
    while (this.#writing >= MAX_WRITES || this.#unsyncedBytes >= maxUnsyncedBytes) {
      this.#check()
      await this.#changed.promise
    }
    this.#check()
    this.#writing += 1
    try {
      await write()
      this.#unsyncedBytes += bytes
    } finally {
      this.#writing -= 1
      this.#tell()
    }
    if (this.#unsyncedBytes >= this.#portionBytes) this.#syncing ??= this.#run()
  }

  /** Waits for a sync under way, if there is one. Throws what any has thrown. */
  async settled(): Promise<void> {
    await this.#syncing
    this.#check()
  }

  /** Never throws, since nobody may be waiting. */
  async #run(): Promise<void> {
    const bytes = this.#unsyncedBytes
    try {
      await this.#sync()
      this.#unsyncedBytes -= bytes
    } catch (error) {
      this.#failure = { error }
    }
    this.#syncing = undefined
    this.#tell()
  }

  #tell(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error
  }
}
