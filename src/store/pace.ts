import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '../clock.ts'

/** What was not used is kept for so long, so that a late timer costs nothing and a rest no burst. */
const MAX_CREDIT_MS = 250

/** Slows work down to so many bytes a second. */
export class Pace {
  readonly #bytesPerMs: number
  readonly #clock: Clock
  /** When the bytes taken so far have had their time. */
  #paidUntilMs: number

  constructor(bytesPerSecond: number, clock: Clock) {
    this.#bytesPerMs = bytesPerSecond / 1_000
    this.#clock = clock
    this.#paidUntilMs = clock.monotonic()
  }

  /** Waits until so many bytes more may be worked on. Throws the signal's reason. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const nowMs = this.#clock.monotonic()
    const startMs = Math.max(this.#paidUntilMs, nowMs - MAX_CREDIT_MS)
    this.#paidUntilMs = startMs + bytes / this.#bytesPerMs
    const waitMs = startMs - nowMs
    if (waitMs > 0) await delay(waitMs, undefined, { signal, ref: false })
  }
}
