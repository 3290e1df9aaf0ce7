import type { Writable } from 'node:stream'
import { StarlingError } from '../errors.ts'

/** What is done one after the other for a writable; each step fails when that closes. */
export class Steps {
  readonly #to: Writable
  readonly #onClose = () => this.#fail(closedEarly())
  #fail: (error: Error) => void = () => {}

  constructor(to: Writable) {
    this.#to = to
    to.once('close', this.#onClose)
  }

  /** Waits for a step. Throws what it throws, or `CLOSED`. */
  take<Result>(step: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#fail = reject
      step.then(resolve, reject)
      if (this.#to.destroyed) this.#onClose()
    })
  }

  /** Writes, and waits until nobody looks at the bytes any more. Throws as {@link take}. */
  write(bytes: Buffer): Promise<void> {
    return this.take(
      new Promise((resolve, reject) => {
        this.#to.write(bytes, error => (error ? reject(error) : resolve()))
      })
    )
  }

  /** No step follows. */
  end(): void {
    this.#to.off('close', this.#onClose)
  }
}

function closedEarly(): StarlingError {
  return new StarlingError('CLOSED', 'the other side has closed')
}
