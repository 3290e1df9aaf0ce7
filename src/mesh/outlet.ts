import type { Stream } from '@libp2p/interface'
import { frameOf } from './frames.ts'

/** The sending end of a channel to one peer: a stream, and what waits for room in it. */
export class Outlet {
  /** Resolves when nothing can be sent any more. */
  readonly ended: Promise<void>
  readonly #stream: Stream
  readonly #maxQueuedBytes: number
  readonly #queue: Buffer[] = []
  #queuedBytes = 0
  #isFull = false

  constructor(stream: Stream, maxQueuedBytes: number) {
    this.#stream = stream
    this.#maxQueuedBytes = maxQueuedBytes
    const { promise, resolve } = Promise.withResolvers<void>()
    this.ended = promise
    stream.addEventListener('close', () => resolve())
    stream.addEventListener('remoteCloseWrite', () => this.reset('the peer takes no more'))
    stream.addEventListener('drain', () => this.#drain())
    if (stream.status !== 'open') resolve()
  }

  /**
   * Sends a message after all earlier ones. A peer that is so slow that the queue is full would have
   * to miss some: the stream is reset then, and false says so.
   */
  send(message: Uint8Array): boolean {
    if (this.#stream.writeStatus !== 'writable') return false
    const frame = frameOf(message)
    if (!this.#isFull) {
      this.#write(frame)
      return true
    }
    if (this.#queuedBytes + frame.length > this.#maxQueuedBytes) {
      this.reset('the peer is too slow')
      return false
    }
    this.#queue.push(frame)
    this.#queuedBytes += frame.length
    return true
  }

  /** Ends the stream; what has not left is dropped. */
  reset(why: string): void {
    this.#stream.abort(new Error(why))
  }

  #drain(): void {
    this.#isFull = false
    while (!this.#isFull) {
      const frame = this.#queue.shift()
      if (frame === undefined) return
      this.#queuedBytes -= frame.length
      this.#write(frame)
    }
  }

  #write(frame: Buffer): void {
    try {
      this.#isFull = !this.#stream.send(frame)
    } catch {
      // It closed this moment, and `ended` tells.
      this.#isFull = true
    }
  }
}
