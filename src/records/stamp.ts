import type { Clock } from '../clock.ts'
import { StarlingError } from '../errors.ts'

/**
 * A moment of the hybrid logical clock: milliseconds since 1970 times {@link TICKS_PER_MS}, plus a
 * counter. It orders records as time does wherever clocks agree, and as cause and effect always.
 */
export type Stamp = number & { readonly __brand: 'Stamp' }

/** 11 bits of counter: 2,048 writes in one millisecond before stamps run ahead of the clock. */
export const TICKS_PER_MS = 2_048

/** The greatest integer that every implementation of numbers we meet can hold exactly. */
export const MAX_STAMP = Number.MAX_SAFE_INTEGER as Stamp

export const ZERO_STAMP = 0 as Stamp

/**
 * A stamp further ahead of our clock than this does not move it (design.md section 5): it still
 * orders its own register, but one machine with a wrong clock cannot carry the cluster with it.
 */
const MAX_DRIFT_MS = 5 * 60_000

/** 2100-01-01. A wall clock beyond it is broken, and is ignored; stamps of it would leave no room above. */
const PLAUSIBLE_END_MS = 4_102_444_800_000

/**
 * No node promises or confirms more, so that no horizon can lie above it. One that does would leave
 * no stamp to write with: all nodes follow it, and none ever comes back below.
 */
export const MAX_HORIZON = (PLAUSIBLE_END_MS * TICKS_PER_MS) as Stamp

export function isStamp(value: unknown): value is Stamp {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

/** The wall-clock part of a stamp, in milliseconds since 1970. */
export function stampMs(stamp: Stamp): number {
  return Math.floor(stamp / TICKS_PER_MS)
}

export interface HybridClockOptions {
  readonly clock: Clock
  /** The last stamp known from before a restart; nothing at or below it is issued again. */
  readonly floor?: Stamp
  /** Called with each stamp that was too far ahead to be followed. */
  readonly onDrift?: (aheadMs: number, origin: string) => void
}

/**
 * Issues the stamps of this node's records.
 *
 * Stamps grow for ever, also when the wall clock jumps back, except that replacing a record whose
 * stamp is too far ahead gives a stamp above that record alone: the next one is near our time
 * again. What must grow is the sequence within one register, and there the replaced heads see to it.
 */
export class HybridClock {
  readonly #clock: Clock
  readonly #onDrift: ((aheadMs: number, origin: string) => void) | undefined
  #last: Stamp

  constructor(options: HybridClockOptions) {
    this.#clock = options.clock
    this.#onDrift = options.onDrift
    this.#last = options.floor ?? ZERO_STAMP
  }

  /** The last stamp issued or followed. Kept with every write, so that a restart starts above it. */
  get floor(): Stamp {
    return this.#last
  }

  /**
   * A stamp above our time, all we have seen and `replaced`.
   * Throws `RECORD_INVALID` when the record replaced leaves no room above it.
   */
  issue(replaced: Stamp = ZERO_STAMP): Stamp {
    const own = Math.max(this.#wall(), this.#last) + 1
    const stamp = Math.max(own, replaced + 1) as Stamp
    if (stamp > MAX_STAMP) {
      throw new StarlingError('RECORD_INVALID', 'the record to replace has the last stamp there is')
    }
    this.#last = (this.#aheadMs(stamp) > MAX_DRIFT_MS ? own : stamp) as Stamp
    return stamp
  }

  /** Follows a stamp that came from elsewhere, unless it is too far ahead. */
  observe(stamp: Stamp, origin: string): void {
    if (stamp <= this.#last) return
    const aheadMs = this.#aheadMs(stamp)
    if (aheadMs > MAX_DRIFT_MS) this.#onDrift?.(aheadMs, origin)
    else this.#last = stamp
  }

  /** A stamp that nothing issued from now on is at or below; it holds once it is journalled. */
  promise(): Stamp {
    this.#last = Math.max(this.#wall(), this.#last) as Stamp
    return this.#last
  }

  /**
   * Follows a horizon, however far ahead it is: all members have confirmed it, so that it is never
   * further than the slowest of their clocks.
   */
  follow(horizon: Stamp): void {
    if (horizon > this.#last) this.#last = horizon
  }

  #aheadMs(stamp: Stamp): number {
    return stampMs(stamp) - this.#wall() / TICKS_PER_MS
  }

  #wall(): number {
    const ms = Math.floor(this.#clock.now())
    return ms >= 0 && ms < PLAUSIBLE_END_MS ? ms * TICKS_PER_MS : 0
  }
}
