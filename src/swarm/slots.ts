import { StarlingError } from '../errors.ts'

/** A bounded number of places, with a bounded line of those who wait for one, first come first served. */
export class Slots {
  #free: number
  readonly #maxWaiting: number
  readonly #waiting = new Set<() => void>()

  constructor(options: { readonly count: number; readonly maxWaiting: number }) {
    this.#free = options.count
    this.#maxWaiting = options.maxWaiting
  }

  /**
   * Takes a place, waiting for one if need be, and gives the function that frees it (which may be
   * called more than once). Throws `UNAVAILABLE` when the line is full, the signal's reason when
   * it is aborted first.
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#free > 0) this.#free--
    else await this.#stand(signal)
    return this.#release()
  }

  #stand(signal: AbortSignal): Promise<void> {
    if (this.#waiting.size >= this.#maxWaiting) {
      throw new StarlingError('UNAVAILABLE', `${this.#maxWaiting} already wait for a transfer slot`)
    }
    return new Promise((resolve, reject) => {
      const called = () => {
        signal.removeEventListener('abort', left)
        resolve()
      }
      const left = () => {
        this.#waiting.delete(called)
        reject(signal.reason)
      }
      this.#waiting.add(called)
      signal.addEventListener('abort', left, { once: true })
    })
  }

  #release(): () => void {
    let held = true
    return () => {
      if (!held) return
      held = false
      const [next] = this.#waiting
      if (next === undefined) {
        this.#free++
      } else {
        this.#waiting.delete(next)
        next()
      }
    }
  }
}
