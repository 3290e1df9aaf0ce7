import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import { type Contribution, Contributions, Replay } from './contributions.ts'
import type { Fetcher, Holder } from './fetcher.ts'
import { type Received, receive } from './receive.ts'
import { IMPATIENT_LIMITS, STALL_LIMITS, type StallLimits } from './stall.ts'

/** Where the bytes of one blob go, in order. */
export interface Sink {
  /** How many bytes it has. */
  readonly offset: number
  /** Takes a chunk for good: who gives it may not even look at its length again. */
  append(chunk: Uint8Array): Promise<void>
  /** Verifies and keeps the blob. Throws `DIGEST_INVALID` when the bytes are not those of the digest. */
  commit(): Promise<void>
  /** Drops all bytes; the offset is 0 again. */
  reset(): Promise<void>
}

/** What became of one holder's turn. */
export interface Outcome {
  readonly holder: Holder
  /**
   * `unknown`: it has no such blob. `failed`: it could not be reached, refused, or broke off.
   * `stalled`: it gave next to nothing for too long. `wrong`: it gave bytes, or a size, that are
   * not the blob's.
   */
  readonly outcome: 'done' | 'unknown' | 'failed' | 'stalled' | 'wrong'
  /** What it gave in this turn. */
  readonly bytes: number
  readonly error?: unknown
}

export type DownloadReport =
  | { readonly kind: 'done'; readonly sizeBytes: number; readonly outcomes: readonly Outcome[] }
  /** Nobody is left to ask. What came in stays in the sink for another time. */
  | { readonly kind: 'unfinished'; readonly outcomes: readonly Outcome[] }

export interface DownloadOptions {
  readonly digest: Digest
  /** The size if it is known, from a descriptor: a holder that says another is wrong. */
  readonly sizeBytes?: number
  readonly sink: Sink
  readonly fetcher: Fetcher
  /**
   * Who is asked next; `undefined` when nobody is left. `excluded` has the ids of those not worth
   * asking again for this blob now: answered wrongly, has it not, or gave nothing before it failed.
   */
  readonly nextHolder: (
    excluded: ReadonlySet<string>
  ) => Holder | undefined | Promise<Holder | undefined>
  readonly signal: AbortSignal
  /** Told of each outcome at once, before `nextHolder` is asked again. */
  readonly onOutcome?: (outcome: Outcome) => void
  readonly onHolder?: (holder: Holder) => void
  readonly onReceived?: (bytes: number) => void
  /** For a holder when nobody else is left to ask, and for one of several. */
  readonly limits?: { readonly alone: StallLimits; readonly oneOfSeveral: StallLimits }
}

/**
 * Drives one blob into the sink, from as many holders as it takes: when one fails, the next goes on
 * at the byte reached. When the whole fails its verification and more than one holder gave to it,
 * each is tried alone, so that the one that lies is found and named. Throws what the sink throws,
 * and the signal's reason.
 */
export async function download(options: DownloadOptions): Promise<DownloadReport> {
  const run = new Run(options)
  for (let turn = 0; turn < MAX_TURNS; turn++) {
    options.signal.throwIfAborted()
    const holder = await run.choose()
    if (holder === undefined) break
    const sizeBytes = await run.turn(holder, await run.limitsFor(holder))
    if (sizeBytes !== undefined) return { kind: 'done', sizeBytes, outcomes: run.outcomes }
  }
  return { kind: 'unfinished', outcomes: run.outcomes }
}

/** Each turn makes {@link PROGRESS_BYTES} or takes its holder out, so this only bounds the absurd. */
const MAX_TURNS = 1_000

/** A holder that broke off after this much may be asked again at once: its link is bad, not it. */
const PROGRESS_BYTES = 1024 * 1024

class Run {
  readonly outcomes: Outcome[] = []
  readonly #options: DownloadOptions
  readonly #excluded = new Set<string>()
  /** What each holder says the size is. */
  readonly #claims = new Map<string, { readonly holder: Holder; readonly sizeBytes: number }>()
  /** Those who gave to a blob that failed its verification, to be tried alone. */
  #suspects: readonly Holder[] = []
  /** Who gave what to that blob. */
  #accused: readonly Contribution[] | undefined
  #replay: Replay | undefined
  #contributions: Contributions
  /** The size that the bytes in the sink belong to. */
  #sizeBytes: number | undefined

  constructor(options: DownloadOptions) {
    this.#options = options
    this.#sizeBytes = options.sizeBytes
    this.#contributions = new Contributions(options.sink.offset)
  }

  async choose(): Promise<Holder | undefined> {
    const [suspect, ...others] = this.#suspects
    if (suspect !== undefined) {
      this.#suspects = others
      await this.#startOver()
      return suspect
    }
    const holder = await this.#options.nextHolder(this.#excluded)
    return holder === undefined || this.#excluded.has(holder.id) ? undefined : holder
  }

  /** Who has all that is left of the hope is waited for longer than one of several. */
  async limitsFor({ id }: Holder): Promise<StallLimits> {
    const { limits, nextHolder } = this.#options
    const other = await nextHolder(new Set([...this.#excluded, id]))
    const isAlone = other === undefined && this.#suspects.length === 0
    return isAlone ? (limits?.alone ?? STALL_LIMITS) : (limits?.oneOfSeveral ?? IMPATIENT_LIMITS)
  }

  /** Gives the size when the blob is complete, verified and kept. */
  async turn(holder: Holder, limits: StallLimits): Promise<number | undefined> {
    const { digest, sink, fetcher, signal, onHolder, onReceived } = this.#options
    onHolder?.(holder)
    const received = await receive({
      holder,
      digest,
      start: sink.offset,
      fetcher,
      signal,
      limits,
      agree: sizeBytes => this.#agree(holder, sizeBytes),
      take: async chunk => {
        const { length } = chunk
        this.#contributions.add(holder, chunk)
        this.#replay?.add(chunk)
        await sink.append(chunk)
        onReceived?.(length)
      }
    })
    return received.kind === 'complete'
      ? this.#verify(holder, received)
      : this.#endTurn(holder, received)
  }

  /** Whether the size a holder announces fits what is known and what the sink has. */
  #agree(holder: Holder, sizeBytes: number): 'yes' | 'disputed' | 'wrong' {
    this.#claims.set(holder.id, { holder, sizeBytes })
    if (this.#options.sizeBytes !== undefined && this.#options.sizeBytes !== sizeBytes) {
      return 'wrong'
    }
    this.#sizeBytes ??= sizeBytes
    return this.#sizeBytes === sizeBytes && this.#options.sink.offset <= sizeBytes
      ? 'yes'
      : 'disputed'
  }

  async #endTurn(
    holder: Holder,
    received: Exclude<Received, { readonly kind: 'complete' }>
  ): Promise<undefined> {
    if (received.kind === 'disputed') {
      await this.#accuse([...this.#contributions.holders(), holder])
      return
    }
    const { kind: outcome, bytes, error } = received
    if (bytes < PROGRESS_BYTES || outcome === 'wrong') this.#excluded.add(holder.id)
    this.#report({ holder, outcome, bytes, error })
  }

  async #verify(
    holder: Holder,
    { sizeBytes, bytes }: Extract<Received, { readonly kind: 'complete' }>
  ): Promise<number | undefined> {
    try {
      await this.#options.sink.commit()
    } catch (error) {
      if (!isCode(error, 'DIGEST_INVALID')) throw error
      const sole = this.#contributions.sole()
      if (sole === undefined) {
        this.#accused = this.#contributions.finish()
        await this.#accuse(this.#contributions.holders())
      } else await this.#condemn(sole, bytes, error)
      return undefined
    }
    const liars = new Map(this.#replay?.liars().map(liar => [liar.id, liar]))
    for (const claim of this.#claims.values()) {
      if (claim.sizeBytes !== sizeBytes) liars.set(claim.holder.id, claim.holder)
    }
    for (const liar of liars.values()) this.#exclude(liar)
    this.#report({ holder, outcome: 'done', bytes })
    return sizeBytes
  }

  /** One of several gave wrong bytes, or a wrong size. */
  async #accuse(suspects: readonly Holder[]): Promise<void> {
    this.#suspects = suspects.filter(({ id }) => !this.#excluded.has(id))
    await this.#startOver()
  }

  /** The others are free to share the work again: whoever lies too is found as this one was. */
  async #condemn(liar: Holder, bytes: number, error: unknown): Promise<void> {
    this.#exclude(liar, bytes, error)
    this.#suspects = []
    await this.#startOver()
  }

  #exclude(holder: Holder, bytes = 0, error?: unknown): void {
    if (this.outcomes.some(past => past.holder.id === holder.id && past.outcome === 'wrong')) return
    this.#excluded.add(holder.id)
    this.#report({ holder, outcome: 'wrong', bytes, error })
  }

  async #startOver(): Promise<void> {
    await this.#options.sink.reset()
    this.#sizeBytes = this.#options.sizeBytes
    this.#contributions = new Contributions(0)
    this.#replay = this.#accused === undefined ? undefined : new Replay(this.#accused)
  }

  #report(outcome: Outcome): void {
    this.outcomes.push(outcome)
    this.#options.onOutcome?.(outcome)
  }
}
