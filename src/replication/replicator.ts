import type { Clock, Random } from '../clock.ts'
import type { Digest } from '../digest.ts'
import type { Log } from '../log.ts'
import type { Download, Downloads } from './downloads.ts'
import type { Inventory } from './inventory.ts'

/** Enough to fill a link with small blobs, few enough that large ones end one after the other. */
const MAX_PARALLEL = 6
const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 30_000
/** What nobody may have been asked about yet is looked at this often. */
const SWEEP_MS = 250

interface Retry {
  readonly attempts: number
  readonly notBeforeMs: number
}

export interface ReplicatorOptions {
  readonly inventory: Inventory
  readonly downloads: Downloads
  /** Whether the disk takes background copies now. */
  readonly hasRoom: () => boolean
  readonly onReplicated: (seconds: number) => void
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** Fetches whatever should exist here and is not held: manifests first, then oldest first. */
export class Replicator {
  readonly #options: ReplicatorOptions
  readonly #retries = new Map<Digest, Retry>()
  readonly #running = new Set<Digest>()
  readonly #unsubscribe: () => void
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: ReplicatorOptions) {
    this.#options = options
    this.#unsubscribe = options.inventory.onMissing(() => this.#pump())
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#pump(), SWEEP_MS).unref()
    this.#pump()
  }

  /** News that somebody holds a blob, or that somebody came: what waits is tried at once. */
  poke(digest?: Digest): void {
    if (digest === undefined) this.#retries.clear()
    else if (!this.#retries.delete(digest)) return
    this.#pump()
  }

  /** Whether a blob has been asked for everywhere, and nobody reachable has it. */
  hasFailed(digest: Digest): boolean {
    return this.#retries.has(digest) && !this.#running.has(digest)
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.#unsubscribe()
  }

  #pump(): void {
    const { inventory, clock, hasRoom } = this.#options
    if (this.#closed || this.#running.size >= MAX_PARALLEL || !hasRoom()) return
    const now = clock.monotonic()
    for (const digest of this.#inOrder(inventory)) {
      if (this.#running.size >= MAX_PARALLEL) return
      if (this.#running.has(digest)) continue
      if ((this.#retries.get(digest)?.notBeforeMs ?? 0) > now) continue
      this.#running.add(digest)
      void this.#fetch(digest)
    }
  }

  *#inOrder(inventory: Inventory): IterableIterator<Digest> {
    const { graph } = inventory
    const missing = inventory.missing()
    for (const digest of missing.keys()) {
      if (graph.manifestType(digest) !== undefined) yield digest
    }
    for (const digest of missing.keys()) {
      if (graph.manifestType(digest) === undefined) yield digest
    }
  }

  async #fetch(digest: Digest): Promise<void> {
    const { inventory, downloads, clock, onReplicated } = this.#options
    const since = inventory.missing().get(digest)?.sinceMs
    try {
      const download: Download = downloads.start(digest)
      await download.done
      this.#retries.delete(digest)
      if (since !== undefined) onReplicated((clock.monotonic() - since) / 1000)
    } catch (error) {
      this.#retryLater(digest, error)
    } finally {
      this.#running.delete(digest)
      this.#pump()
    }
  }

  #retryLater(digest: Digest, error: unknown): void {
    const { inventory, clock, random, log } = this.#options
    if (this.#closed || !inventory.missing().has(digest)) {
      this.#retries.delete(digest)
      return
    }
    const attempts = (this.#retries.get(digest)?.attempts ?? 0) + 1
    const backOffMs = Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LAST_RETRY_MS)
    const waitMs = backOffMs * (0.5 + random())
    this.#retries.set(digest, { attempts, notBeforeMs: clock.monotonic() + waitMs })
    log.debug({ digest, attempts, waitMs: Math.round(waitMs), err: error }, 'blob not fetched')
  }
}
