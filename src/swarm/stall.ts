export interface StallLimits {
  /** How long a holder may give us next to nothing while we wait for it. */
  readonly stallTimeoutMs: number
  /** What "next to nothing" is: fewer bytes than this in that time. */
  readonly stallBytes: number
}

/**
 * 16 KiB in 15 s: a link at 1 kB/s is of no use for layers, and a holder that drips a byte a second
 * to look alive is no better than one that is silent.
 */
export const STALL_LIMITS: StallLimits = { stallTimeoutMs: 15_000, stallBytes: 16 * 1024 }

/** The same pace, for a holder beside whom there are others to ask: nobody waits for it for long. */
export const IMPATIENT_LIMITS: StallLimits = { stallTimeoutMs: 2_000, stallBytes: 2 * 1024 }

/** Looks this often within the limit, so that a stall is found at most a quarter too late. */
const LOOKS = 4

/** Watches one body. Time in which we do not ask for bytes, since our disk is busy, does not count. */
export class StallWatch {
  readonly #limits: StallLimits
  readonly #timer: NodeJS.Timeout
  readonly #onStall: () => void
  #waiting = false
  #bytes = 0
  #quietLooks = 0

  constructor(limits: StallLimits, onStall: () => void) {
    this.#limits = limits
    this.#onStall = onStall
    this.#timer = setInterval(() => this.#look(), limits.stallTimeoutMs / LOOKS)
  }

  waiting(): void {
    this.#waiting = true
  }

  /** Nothing is asked for. */
  resting(): void {
    this.#waiting = false
  }

  received(bytes: number): void {
    this.resting()
    this.#bytes += bytes
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #look(): void {
    if (!this.#waiting || this.#bytes >= this.#limits.stallBytes) {
      this.#bytes = 0
      this.#quietLooks = 0
      return
    }
    this.#quietLooks++
    if (this.#quietLooks >= LOOKS) this.#onStall()
  }
}
