import type { Clock, Random } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import type { Log } from '../log.ts'
import { MAX_BATCH_BLOBS } from '../swarm/batch.ts'
import type { Downloads } from './downloads.ts'
import { Fifo } from './fifo.ts'
import type { Inventory } from './inventory.ts'

/** Few enough that large blobs end one after the other. */
const MAX_PARALLEL = 6
/** Small ones come many at a time: while one batch is stored, another one can come. */
const MAX_PARALLEL_SMALL = 2 * MAX_BATCH_BLOBS
const FIRST_RETRY_MS = 500
const LAST_RETRY_MS = 30_000
/** What failed is looked at this often for whether it is due again. */
const SWEEP_MS = 250
/** What did not fit is tried again as often as the disk is looked at. */
const ROOM_RETRY_MS = 2_000
/** A holder that fails so often in a row, over some seconds, cannot give the blob for now. */
const MAX_HOPEFUL_ATTEMPTS = 4
/** A node that lacks what a live member says it has is not ready, but not for ever (section 8). */
const MAX_HOPEFUL_MS = 60_000

/** What could not be fetched, to be tried again. */
interface Retry {
  readonly attempts: number
  readonly sinceMs: number
  readonly notBeforeMs: number
  /** Every holder that could be asked has it not. */
  readonly unknown: boolean
}

export interface ReplicatorOptions {
  readonly inventory: Pick<Inventory, 'missing' | 'onMissing' | 'graph'>
  readonly downloads: Pick<Downloads, 'start'>
  /** Whether a blob is known to be small. */
  readonly isSmall: (digest: Digest) => boolean
  /** Whether the disk takes background copies now. */
  readonly hasRoom: () => boolean
  /** Whether there is room for this blob, as large as it is known to be. */
  readonly fits: (digest: Digest) => boolean
  readonly onReplicated: (seconds: number) => void
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** Fetches whatever should exist here and is not held: manifests first, then oldest first. */
export class Replicator {
  readonly #options: ReplicatorOptions
  /** Manifests go before the rest, since they name more. */
  readonly #manifests = new Fifo<Digest>()
  readonly #small = new Fifo<Digest>()
  readonly #large = new Fifo<Digest>()
  readonly #retries = new Map<Digest, Retry>()
  readonly #running = new Set<Digest>()
  #runningSmall = 0
  /** What there is no room for, while smaller blobs go on. */
  readonly #tooLarge = new Set<Digest>()
  #tooLargeSinceMs = 0
  readonly #unsubscribe: () => void
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: ReplicatorOptions) {
    this.#options = options
    for (const digest of options.inventory.missing().keys()) this.#queue(digest)
    this.#unsubscribe = options.inventory.onMissing(digest => {
      this.#queue(digest)
      this.#pump()
    })
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#sweep(), SWEEP_MS).unref()
    this.#pump()
  }

  /** News that somebody holds a blob, or that somebody came: what waits is tried at once. */
  poke(digest?: Digest): void {
    const again = digest === undefined ? [...this.#retries.keys()] : [digest]
    for (const each of again) if (this.#retries.delete(each)) this.#queue(each)
    this.#pump()
  }

  /** Whether nobody reachable can give the blob: all were asked, and have it not or keep failing. */
  hasFailed(digest: Digest): boolean {
    if (this.#tooLarge.has(digest)) return true
    const retry = this.#retries.get(digest)
    if (retry === undefined || this.#running.has(digest)) return false
    return retry.unknown || retry.attempts >= MAX_HOPEFUL_ATTEMPTS
  }

  /**
   * Whether to be ready without it: all who were asked have it not, or it could not be had from
   * those that say they have it for a minute and several attempts.
   */
  hasGivenUp(digest: Digest): boolean {
    if (this.#tooLarge.has(digest)) return true
    const retry = this.#retries.get(digest)
    if (retry === undefined || retry.unknown) return retry !== undefined
    const failingMs = this.#options.clock.monotonic() - retry.sinceMs
    return retry.attempts >= MAX_HOPEFUL_ATTEMPTS && failingMs >= MAX_HOPEFUL_MS
  }

  /** Whether something that should be here waits for room. */
  get lacksRoom(): boolean {
    return this.#tooLarge.size > 0
  }

  close(): void {
    this.#closed = true
    clearInterval(this.#timer)
    this.#unsubscribe()
  }

  #queue(digest: Digest): void {
    const { inventory, isSmall } = this.#options
    const isManifest = inventory.graph.manifestType(digest) !== undefined
    const line = isManifest ? this.#manifests : isSmall(digest) ? this.#small : this.#large
    line.push(digest)
  }

  #sweep(): void {
    const now = this.#options.clock.monotonic()
    for (const [digest, { notBeforeMs }] of this.#retries) {
      if (notBeforeMs <= now && !this.#running.has(digest)) this.#queue(digest)
    }
    if (now - this.#tooLargeSinceMs >= ROOM_RETRY_MS) {
      for (const digest of this.#tooLarge) this.#queue(digest)
      this.#tooLargeSinceMs = now
    }
    this.#pump()
  }

  #pump(): void {
    if (this.#closed || this.#timer === undefined) return
    while (this.#options.hasRoom()) {
      const small = this.#nextSmall()
      const digest = small ?? this.#nextLarge()
      if (digest === undefined) return
      if (!this.#running.has(digest)) this.#begin(digest, small === undefined)
    }
  }

  #nextSmall(): Digest | undefined {
    if (this.#runningSmall >= MAX_PARALLEL_SMALL) return undefined
    return this.#manifests.shift() ?? this.#small.shift()
  }

  #nextLarge(): Digest | undefined {
    const running = this.#running.size - this.#runningSmall
    return running < MAX_PARALLEL ? this.#large.shift() : undefined
  }

  #begin(digest: Digest, isLarge: boolean): void {
    const { inventory, fits } = this.#options
    const isMissing = inventory.missing().has(digest)
    if (isMissing && !fits(digest)) {
      this.#tooLarge.add(digest)
      return
    }
    this.#tooLarge.delete(digest)
    if (isMissing) void this.#fetch(digest, isLarge)
    else this.#retries.delete(digest)
  }

  async #fetch(digest: Digest, isLarge: boolean): Promise<void> {
    const { inventory, downloads, clock, onReplicated } = this.#options
    const since = inventory.missing().get(digest)?.sinceMs
    this.#running.add(digest)
    if (!isLarge) this.#runningSmall += 1
    try {
      await downloads.start(digest).done
      this.#retries.delete(digest)
      if (since !== undefined) onReplicated((clock.monotonic() - since) / 1000)
    } catch (error) {
      this.#retryLater(digest, error)
    } finally {
      this.#running.delete(digest)
      if (!isLarge) this.#runningSmall -= 1
      this.#pump()
    }
  }

  #retryLater(digest: Digest, error: unknown): void {
    const { inventory, clock, random, log } = this.#options
    if (this.#closed || !inventory.missing().has(digest)) {
      this.#retries.delete(digest)
      return
    }
    const before = this.#retries.get(digest)
    const attempts = (before?.attempts ?? 0) + 1
    const now = clock.monotonic()
    const sinceMs = before?.sinceMs ?? now
    const backOffMs = Math.min(FIRST_RETRY_MS * 2 ** (attempts - 1), LAST_RETRY_MS)
    const waitMs = backOffMs * (0.5 + random())
    const unknown = isCode(error, 'BLOB_UNKNOWN')
    this.#retries.set(digest, { attempts, sinceMs, notBeforeMs: now + waitMs, unknown })
    log.debug({ digest, attempts, waitMs: Math.round(waitMs), err: error }, 'blob not fetched')
  }
}
