import { StarlingError } from '../errors.ts'

const LENGTH_BYTES = 4

/** A message with its length before it, ready to be sent; the message may be changed afterwards. */
export function frameOf(message: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + message.length)
  frame.writeUInt32BE(message.length)
  frame.set(message, LENGTH_BYTES)
  return frame
}

/** Puts messages together again from bytes that come in any portions. */
export class FrameReader {
  readonly #maxBytes: number
  #chunks: Uint8Array[] = []
  #bytes = 0
  /** Of the message that is coming in; `undefined` until its length is known. */
  #dueBytes: number | undefined

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Takes bytes and gives the messages that they complete. Throws `PEER_FAILED` for one too long. */
  *push(chunk: Uint8Array): Generator<Buffer> {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    for (;;) {
      if (this.#dueBytes === undefined) {
        if (this.#bytes < LENGTH_BYTES) return
        this.#dueBytes = this.#take(LENGTH_BYTES).readUInt32BE()
        if (this.#dueBytes > this.#maxBytes) {
          throw new StarlingError('PEER_FAILED', `a message of ${this.#dueBytes} bytes is too long`)
        }
      }
      if (this.#bytes < this.#dueBytes) return
      const message = this.#take(this.#dueBytes)
      this.#dueBytes = undefined
      yield message
    }
  }

  #take(count: number): Buffer {
    const [first] = this.#chunks
    const all =
      this.#chunks.length === 1 && first !== undefined
        ? Buffer.from(first.buffer, first.byteOffset, first.byteLength)
        : Buffer.concat(this.#chunks)
    this.#chunks = count < all.length ? [all.subarray(count)] : []
    this.#bytes -= count
    return all.subarray(0, count)
  }
}
