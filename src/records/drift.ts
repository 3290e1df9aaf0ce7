import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'

/** A record that was stamped too far ahead of our clock to be followed. */
export interface Ahead {
  readonly aheadMs: number
  /** The id of the node that wrote it. */
  readonly origin: string
}

/** A peer with a wrong clock sends thousands of records; one line a minute says it. */
const LOG_INTERVAL_MS = 60_000
/** As long as a drift is told after the last record that showed it. */
const REMEMBERED_MS = 10 * 60_000

/** Remembers whose clock runs ahead of ours, for a metric and the status (design, section 5). */
export class Drift {
  readonly #clock: Clock
  readonly #log: Log
  #worst: (Ahead & { readonly atMs: number }) | undefined
  #loggedMs = Number.NEGATIVE_INFINITY

  constructor(options: { clock: Clock; log: Log }) {
    this.#clock = options.clock
    this.#log = options.log
  }

  see(aheadMs: number, origin: string): void {
    const nowMs = this.#clock.monotonic()
    if (aheadMs >= (this.worst()?.aheadMs ?? 0)) this.#worst = { aheadMs, origin, atMs: nowMs }
    if (nowMs - this.#loggedMs < LOG_INTERVAL_MS) return
    this.#loggedMs = nowMs
    this.#log.warn({ origin, aheadMs: Math.round(aheadMs) }, 'record stamped in the future')
  }

  /** The greatest drift of the last ten minutes; `undefined` when all were within 5 minutes. */
  worst(): Ahead | undefined {
    if (this.#worst === undefined) return undefined
    const { atMs, aheadMs, origin } = this.#worst
    return this.#clock.monotonic() - atMs <= REMEMBERED_MS ? { aheadMs, origin } : undefined
  }
}
