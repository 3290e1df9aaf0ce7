import { StarlingError } from '../../errors.ts'

/** Some seconds of work; more than that a client would not wait. */
const MAX_WAITING = 64

/** Leaves room for others while one address tries passwords. */
const MAX_WAITING_PER_ADDRESS = 8

/** Log-ins whose password is being checked: a bounded number, and each of them only once. */
export class Attempts {
  readonly #running = new Map<string, Promise<boolean>>()
  readonly #byAddress = new Map<string, number>()

  /**
   * Checks, or joins the check of the same credentials that is under way.
   *
   * @param key names the credentials
   * @throws `UNAVAILABLE` when too many wait, in all or of this address. It is 503 and not 429,
   *   which containerd answers with five more requests at once
   */
  run(key: string, address: string, check: () => Promise<boolean>): Promise<boolean> {
    const running = this.#running.get(key)
    if (running !== undefined) return running
    const ofAddress = this.#byAddress.get(address) ?? 0
    if (this.#running.size >= MAX_WAITING || ofAddress >= MAX_WAITING_PER_ADDRESS) {
      return Promise.reject(new StarlingError('UNAVAILABLE', 'too many log-ins at once'))
    }
    this.#byAddress.set(address, ofAddress + 1)
    const attempt = check().finally(() => {
      this.#running.delete(key)
      this.#release(address)
    })
    this.#running.set(key, attempt)
    return attempt
  }

  #release(address: string): void {
    const left = (this.#byAddress.get(address) ?? 1) - 1
    if (left === 0) this.#byAddress.delete(address)
    else this.#byAddress.set(address, left)
  }
}
