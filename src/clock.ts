/** Where time comes from, so that tests and the simulator can own it. */
export interface Clock {
  /** Wall-clock time in milliseconds since 1970; may jump either way. */
  now(): number
  /** Milliseconds since some fixed moment; never goes back. Use it for every duration. */
  monotonic(): number
}

/** A number from 0 (included) to 1 (excluded). */
export type Random = () => number

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now()
}

export const systemRandom: Random = () => Math.random()
