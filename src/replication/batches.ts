import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Blobs } from '../store/blobs.ts'
import { MAX_BATCH_BLOBS } from '../swarm/batch.ts'
import type { BatchFetcher, Holder } from '../swarm/fetcher.ts'
import type { Holders } from '../swarm/holders.ts'
import { receiveBatch } from '../swarm/receive-batch.ts'
import { IMPATIENT_LIMITS, STALL_LIMITS, type StallLimits } from '../swarm/stall.ts'
import { BatchTurn, type Wish } from './batch-turn.ts'
import type { Locator } from './locator.ts'
import type { Sightings } from './sightings.ts'

/** While one answer is stored the next ones come; each has some MiB in memory at most. */
const MAX_RUNNING = 3

/** Holders that fail one after the other; then the blob is fetched by itself, with all that belongs to that. */
const MAX_TURNS = 3

export interface BatchesOptions {
  readonly blobs: Pick<Blobs, 'putAll'>
  readonly fetcher: BatchFetcher
  readonly locator: Pick<Locator, 'candidates'>
  readonly holders: Holders
  readonly sightings: Sightings
  readonly onReceived: (bytes: number) => void
  readonly clock: Clock
  readonly log: Log
  /** For a holder when nobody else is left to ask, and for one of several. */
  readonly limits?: { readonly alone: StallLimits; readonly oneOfSeveral: StallLimits }
}

/**
 * Fetches small blobs, many by one request, and stores them together. It is only the quick way:
 * what does not come by it, whatever the reason, is to be fetched by itself.
 */
export class Batches {
  readonly #options: BatchesOptions
  readonly #closing = new AbortController()
  readonly #waiting = new Map<Digest, Wish>()
  readonly #running = new Map<Promise<void>, Holder>()
  /** Peers that give no batches, as before an update, after which they are met anew. */
  readonly #plain = new Set<string>()
  #scheduled = false

  constructor(options: BatchesOptions) {
    this.#options = options
  }

  /**
   * Resolves once the blob is held, with the name of who gave it; with `undefined` when it has to
   * be fetched by itself. Throws `DISK_FULL` or `DISK_FAILED` when it could not be kept, `CLOSED`.
   */
  fetch(digest: Digest): Promise<string | undefined> {
    if (this.#closing.signal.aborted) return Promise.reject(this.#closing.signal.reason)
    const { promise, resolve: settle, reject: fail } = Promise.withResolvers<string | undefined>()
    this.#waiting.set(digest, { digest, settle, fail, asked: new Set() })
    this.#pumpSoon()
    return promise
  }

  /** A client waits for the blob: if it still stands in line it is fetched by itself instead. */
  hurry(digest: Digest): void {
    const wish = this.#waiting.get(digest)
    this.#waiting.delete(digest)
    wish?.settle(undefined)
  }

  /** A peer has come, perhaps as a newer version of itself. */
  met(peer: string): void {
    this.#plain.delete(peer)
  }

  /** Ends every request; what has come in is stored. */
  async close(): Promise<void> {
    this.#closing.abort(new StarlingError('CLOSED', 'the node is stopping'))
    for (const { fail } of this.#waiting.values()) fail(this.#closing.signal.reason)
    this.#waiting.clear()
    await Promise.all(this.#running.keys())
  }

  /** Whoever wants many blobs asks for them in one go. */
  #pumpSoon(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#pump()
    })
  }

  #pump(): void {
    while (this.#running.size < MAX_RUNNING) {
      const [first] = this.#waiting.values()
      if (first === undefined) return
      const holder = this.#holderFor(first)
      if (holder === undefined) {
        this.hurry(first.digest)
        continue
      }
      const run = this.#run(holder, this.#takeFor(holder))
      this.#running.set(run, holder)
      void run.then(() => {
        this.#running.delete(run)
        this.#pump()
      })
    }
  }

  /** Who is likely to have it, and best is not giving already. */
  #holderFor(wish: Wish): Holder | undefined {
    const busy = new Set([...wish.asked, ...this.#running.values().map(({ id }) => id)])
    return this.#next(wish, busy) ?? this.#next(wish, wish.asked)
  }

  #next({ digest, asked }: Wish, excluded: ReadonlySet<string>): Holder | undefined {
    const { locator, holders } = this.#options
    if (asked.size >= MAX_TURNS) return undefined
    return holders.nextRanked(locator.candidates(digest), excluded.union(this.#plain))
  }

  /** The first ones in line that this holder may have. */
  #takeFor({ id }: Holder): Wish[] {
    const wishes: Wish[] = []
    for (const wish of this.#waiting.values()) {
      if (wishes.length === MAX_BATCH_BLOBS) break
      if (!wish.asked.has(id)) wishes.push(wish)
    }
    for (const { digest } of wishes) this.#waiting.delete(digest)
    return wishes
  }

  /** Never rejects. */
  async #run(holder: Holder, wishes: readonly Wish[]): Promise<void> {
    const { clock, log, holders, fetcher, sightings } = this.#options
    const startedMs = clock.monotonic()
    const { signal } = this.#closing
    const onAbsent = (digest: Digest) => sightings.remove(holder.id, digest)
    const turn = new BatchTurn(holder, wishes, { ...this.#options, onAbsent })
    const digests = wishes.map(({ digest }) => digest)
    const limits = this.#limitsFor(holder, wishes)
    try {
      const entries = receiveBatch({ holder, digests, fetcher, signal, limits })
      for await (const entry of entries) await turn.take(entry)
      await turn.store()
      holders.report({ holder, outcome: 'done', bytes: turn.bytes })
      const ms = Math.round(clock.monotonic() - startedMs)
      const fields = { blobs: turn.count, bytes: turn.bytes, ms, from: holder.name }
      log.info({ ...fields, asked: wishes.length }, 'small blobs fetched')
    } catch (error) {
      await turn.store()
      this.#heed(holder, turn, error)
    }
    this.#again(turn.left)
  }

  /** Only who has all that is left of the hope is waited for at length. */
  #limitsFor({ id }: Holder, [first]: readonly Wish[]): StallLimits {
    const { alone = STALL_LIMITS, oneOfSeveral = IMPATIENT_LIMITS } = this.#options.limits ?? {}
    const other = first && this.#next(first, new Set([...first.asked, id]))
    return other === undefined ? alone : oneOfSeveral
  }

  #heed(holder: Holder, turn: BatchTurn, error: unknown): void {
    const { holders, sightings, log } = this.#options
    const { id, name } = holder
    const { left, bytes } = turn
    if (this.#closing.signal.aborted) return
    if (isCode(error, 'UNSUPPORTED')) {
      this.#plain.add(id)
      return
    }
    const outcome = isCode(error, 'DIGEST_INVALID') ? 'wrong' : 'failed'
    holders.report({ holder, outcome, bytes })
    for (const { asked, digest } of left) {
      asked.add(id)
      sightings.remove(id, digest)
    }
    const fields = { peer: id, name, outcome, blobs: turn.count, left: left.length, bytes }
    log.warn({ ...fields, err: error }, 'holder gave up')
  }

  /** Those who have waited longest come first. */
  #again(wishes: readonly Wish[]): void {
    const { signal } = this.#closing
    if (wishes.length === 0) return
    if (signal.aborted) for (const { fail } of wishes) fail(signal.reason)
    else {
      const line = [...wishes, ...this.#waiting.values()]
      this.#waiting.clear()
      for (const wish of line) this.#waiting.set(wish.digest, wish)
    }
  }
}
