import { StarlingError } from '../errors.ts'

/** Memory that requests share. When it is used up, the next is told to come again, not queued. */
export class ByteBudget {
  #leftBytes: number

  constructor(totalBytes: number) {
    this.#leftBytes = totalBytes
  }

  /**
   * Does some work that holds so many bytes while it lasts.
   *
   * @throws `UNAVAILABLE` when they are not left
   */
  async spend<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (bytes > this.#leftBytes) {
      throw new StarlingError('UNAVAILABLE', 'too much is being pushed at once')
    }
    this.#leftBytes -= bytes
    try {
      return await work()
    } finally {
      this.#leftBytes += bytes
    }
  }
}
