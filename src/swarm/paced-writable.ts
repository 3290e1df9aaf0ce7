import { Writable } from 'node:stream'
import type { RateLimit } from './rate-limit.ts'
import type { Urgency } from './schedule/messages.ts'

/** What is to be written to so that a limit is kept: the writable itself when there is none. */
export function paced(to: Writable, limit: RateLimit | undefined, urgency: Urgency): Writable {
  return limit === undefined || limit.isUnlimited ? to : new PacedWritable(to, limit, urgency)
}

/** Writes on to another writable, no faster than a limit lets it. Both close together. */
class PacedWritable extends Writable {
  readonly #to: Writable
  readonly #limit: RateLimit
  readonly #urgency: Urgency

  constructor(to: Writable, limit: RateLimit, urgency: Urgency) {
    super()
    this.#to = to
    this.#limit = limit
    this.#urgency = urgency
    to.once('close', () => this.destroy())
    if (to.destroyed) this.destroy()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    const write = () => void this.#to.write(chunk, done)
    const wait = this.#limit.take(chunk.length, this.#urgency)
    if (wait === undefined) write()
    else void wait.then(write)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#to.end(done)
  }
}
