import type { Writable } from 'node:stream'
import { StarlingError } from '../errors.ts'

/**
 * Small enough to stay in the processor's cache between being read from a file and being copied
 * into a socket, which is worth more than fewer calls (`bench pull`).
 */
const BUFFER_BYTES = 256 * 1024

/** Fills the buffer as far as it can, and gives the part that it filled; nothing at the end. */
export type Fill = (buffer: Buffer) => Promise<Buffer | undefined>

/**
 * Writes bytes to where they are wanted by way of two buffers of its own: one is filled while the
 * other one leaves. The writable's word that a write is done is waited for before a buffer is
 * filled again, so nobody may keep what it is given. The writable is not ended.
 *
 * Throws when the writable fails or closes first, or when `fill` throws.
 */
export async function sendRange(
  fill: Fill,
  sizeBytes: number,
  to: Writable,
  onBytes: (count: number) => void
): Promise<void> {
  const steps = new Steps(to)
  const bufferBytes = Math.min(BUFFER_BYTES, sizeBytes)
  let empty = Buffer.allocUnsafeSlow(bufferBytes)
  let full = Buffer.allocUnsafeSlow(bufferBytes)
  try {
    let filled = await steps.take(fill(full))
    while (filled !== undefined) {
      const leaving = steps.take(written(to, filled))
      const filling = fill(empty)
      // What goes wrong here is met below, unless the writable fails before that.
      filling.catch(() => undefined)
      await leaving
      onBytes(filled.length)
      filled = await steps.take(filling)
      ;[empty, full] = [full, empty]
    }
  } finally {
    steps.end()
  }
}

/** Steps to wait for, one after the other, each of which fails when the writable closes. */
class Steps {
  readonly #to: Writable
  readonly #onClose = () => this.#fail(closedEarly())
  #fail: (error: Error) => void = () => {}

  constructor(to: Writable) {
    this.#to = to
    to.once('close', this.#onClose)
  }

  take<Result>(step: Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#fail = reject
      step.then(resolve, reject)
      if (this.#to.destroyed) this.#onClose()
    })
  }

  end(): void {
    this.#to.off('close', this.#onClose)
  }
}

function written(to: Writable, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    to.write(bytes, error => (error ? reject(error) : resolve()))
  })
}

function closedEarly(): StarlingError {
  return new StarlingError('CLOSED', 'the other side has closed')
}
