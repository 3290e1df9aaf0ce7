import type { Clock, Random } from '../clock.ts'
import type { Outcome } from './download.ts'
import type { Holder } from './fetcher.ts'

/** The wait after a first failure; each further one in a row doubles it. */
const FIRST_WAIT_MS = 250

/** Failing holders are asked about as often as a lost connection is redialled, more or less. */
const LONGEST_WAIT_MS = 30_000

/** Who gave wrong bytes has a bad disk, bad memory or bad intent; none is over in a minute. */
const WRONG_WAIT_MS = 10 * 60_000

/** A holder that broke off after this much does work: the failure is not held against it. */
const PROGRESS_BYTES = 1024 * 1024

/** Enough for any cluster; beyond it the standing that changed longest ago is forgotten. */
const MAX_STANDINGS = 4_096

/** What is held against a holder; one of whom nothing is known is in good standing. */
type Standing =
  | { readonly kind: 'failing'; readonly inARow: number; readonly untilMs: number }
  | { readonly kind: 'wrong'; readonly untilMs: number }

/** Remembers how holders behaved, over all downloads, and says whom to ask next. */
export class Holders {
  readonly #clock: Clock
  readonly #random: Random
  readonly #standings = new Map<string, Standing>()

  constructor(options: { readonly clock: Clock; readonly random: Random }) {
    this.#clock = options.clock
    this.#random = options.random
  }

  /**
   * One of the candidates who is neither excluded nor put aside: any of those with the fewest
   * failures in a row, by chance, so that a flock of nodes does not run to the same one. Whoever
   * gave wrong bytes comes last even when its time is over, until it gives good ones.
   */
  next(candidates: readonly Holder[], excluded: ReadonlySet<string>): Holder | undefined {
    let fewest = Number.POSITIVE_INFINITY
    let best: Holder[] = []
    for (const holder of candidates) {
      if (excluded.has(holder.id) || this.asideMs(holder.id) > 0) continue
      const failures = failuresOf(this.#standings.get(holder.id))
      if (failures < fewest) {
        fewest = failures
        best = []
      }
      if (failures === fewest) best.push(holder)
    }
    return best[Math.floor(this.#random() * best.length)]
  }

  /** {@link next} of the first rank that has one, so that who is likely to have a blob comes first. */
  nextRanked(
    ranks: readonly (readonly Holder[])[],
    excluded: ReadonlySet<string>
  ): Holder | undefined {
    for (const equals of ranks) {
      const holder = this.next(equals, excluded)
      if (holder !== undefined) return holder
    }
    return undefined
  }

  /** For how long this holder is still put aside; 0 when it is not. */
  asideMs(id: string): number {
    const standing = this.#standings.get(id)
    return standing === undefined ? 0 : Math.max(0, standing.untilMs - this.#clock.monotonic())
  }

  /** Takes note of how a turn ended. A holder that simply does not have the blob did nothing wrong. */
  report({ holder, outcome, bytes }: Pick<Outcome, 'holder' | 'outcome' | 'bytes'>): void {
    switch (outcome) {
      case 'unknown':
        return
      case 'done':
        // Good bytes of one blob say nothing about the wrong ones of another, before their time.
        if (!this.#isAsideForWrong(holder.id)) this.forgive(holder.id)
        return
      case 'wrong':
        this.#set(holder.id, {
          kind: 'wrong',
          untilMs: this.#clock.monotonic() + WRONG_WAIT_MS
        })
        return
      case 'failed':
      case 'stalled':
        if (this.#standings.get(holder.id)?.kind === 'wrong') return
        if (outcome === 'failed' && bytes >= PROGRESS_BYTES) this.forgive(holder.id)
        else this.#fail(holder.id)
        return
      default:
        outcome satisfies never
    }
  }

  /** Holds nothing against it any more: to be called when it comes back as a new process. */
  forgive(id: string): void {
    this.#standings.delete(id)
  }

  #isAsideForWrong(id: string): boolean {
    return this.#standings.get(id)?.kind === 'wrong' && this.asideMs(id) > 0
  }

  #fail(id: string): void {
    const inARow = failuresOf(this.#standings.get(id)) + 1
    const waitMs = Math.min(FIRST_WAIT_MS * 2 ** (inARow - 1), LONGEST_WAIT_MS)
    this.#set(id, { kind: 'failing', inARow, untilMs: this.#clock.monotonic() + waitMs })
  }

  #set(id: string, standing: Standing): void {
    this.#standings.delete(id)
    this.#standings.set(id, standing)
    const [oldest] = this.#standings.keys()
    if (this.#standings.size > MAX_STANDINGS && oldest !== undefined) this.forgive(oldest)
  }
}

function failuresOf(standing: Standing | undefined): number {
  if (standing === undefined) return 0
  return standing.kind === 'wrong' ? Number.MAX_SAFE_INTEGER : standing.inARow
}
