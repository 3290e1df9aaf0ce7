import type { Clock } from '../clock.ts'

/**
 * Milliseconds that this process has really run. What others wrote while it was stopped, or the
 * machine asleep, it cannot have heard, so that such a gap counts for no more than one step.
 */
export class RunningTime {
  readonly #clock: Clock
  readonly #maxStepMs: number
  #lastMs: number
  #ms = 0

  /** @param maxStepMs the longest time between two calls of {@link ms} that is no gap */
  constructor(clock: Clock, maxStepMs: number) {
    this.#clock = clock
    this.#maxStepMs = maxStepMs
    this.#lastMs = clock.monotonic()
  }

  /** Since it was made; to be asked more often than the longest step. */
  ms(): number {
    const nowMs = this.#clock.monotonic()
    this.#ms += Math.min(nowMs - this.#lastMs, this.#maxStepMs)
    this.#lastMs = nowMs
    return this.#ms
  }
}
