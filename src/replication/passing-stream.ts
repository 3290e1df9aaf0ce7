import type { Hash } from 'node:crypto'
import { Readable } from 'node:stream'
import { algorithmOf, type Digest, finishDigest, startDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { WITHHELD_BYTES } from '../store/follow.ts'
import type { ByteRange } from '../store/range-stream.ts'
import type { Sink } from '../swarm/download.ts'

/** Two chunks of what a holder sends at a time; the holder waits while the client does. */
const BUFFERED_BYTES = 1024 * 1024

/** A range of a blob on its way from a download to a client, without a file in between. */
export class PassingStream extends Readable {
  /** Where the download puts the bytes. */
  readonly sink: Sink
  /** Resolves with the first byte that may be given, or the end. */
  readonly flowing: Promise<void>
  readonly #digest: Digest
  readonly #sizeBytes: number
  readonly #range: ByteRange
  readonly #flow = Promise.withResolvers<void>()
  readonly #gone = new AbortController()
  /** Whether the whole has to be verified before the range may end. */
  readonly #isVerified: boolean
  #hash: Hash
  #offset: number
  #given = false
  #satisfied = false
  #withheld: Uint8Array[] = []
  #wanted = Promise.withResolvers<void>()

  constructor(digest: Digest, sizeBytes: number, range: ByteRange) {
    super({ highWaterMark: BUFFERED_BYTES })
    this.#digest = digest
    this.#sizeBytes = sizeBytes
    this.#range = range
    this.flowing = this.#flow.promise
    this.#isVerified = range.end > sizeBytes - WITHHELD_BYTES
    this.#offset = this.#isVerified ? 0 : range.start
    this.#hash = startDigest(algorithmOf(digest))
    const stream = this
    this.sink = {
      get offset() {
        return stream.#offset
      },
      append: chunk => this.#append(chunk),
      commit: () => this.#commit(),
      reset: () => this.#reset()
    }
  }

  /** Aborts when nobody wants the bytes any more, or all that were wanted have been given. */
  get signal(): AbortSignal {
    return this.#gone.signal
  }

  /** Whether all that was wanted has been given, or nobody is there to take it. */
  get isSatisfied(): boolean {
    return this.#satisfied
  }

  override _read(): void {
    this.#wanted.resolve()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#end()
    done(error)
  }

  async #append(chunk: Uint8Array): Promise<void> {
    const at = this.#offset
    this.#offset += chunk.length
    if (!this.#isVerified) {
      await this.#give(chunk, at)
      if (this.#offset >= this.#range.end) this.#finish()
      return
    }
    this.#hash.update(chunk)
    const openBytes = Math.max(0, this.#sizeBytes - WITHHELD_BYTES - at)
    if (openBytes < chunk.length) this.#withheld.push(chunk.subarray(openBytes))
    if (openBytes > 0) await this.#give(chunk.subarray(0, openBytes), at)
  }

  async #commit(): Promise<void> {
    if (finishDigest(algorithmOf(this.#digest), this.#hash) !== this.#digest) {
      throw new StarlingError('DIGEST_INVALID', `what came is not ${this.#digest}`)
    }
    let at = Math.max(0, this.#sizeBytes - WITHHELD_BYTES)
    for (const chunk of this.#withheld.splice(0)) {
      await this.#give(chunk, at)
      at += chunk.length
    }
    this.#finish()
  }

  /** Bytes that a client has cannot be taken back; it sees the stream break off and asks again. */
  async #reset(): Promise<void> {
    if (this.#given || !this.#isVerified) {
      throw new StarlingError('PEER_FAILED', `${this.#digest} has to be fetched anew`)
    }
    this.#hash = startDigest(algorithmOf(this.#digest))
    this.#withheld = []
    this.#offset = 0
  }

  /** Passes on what lies in the range, and waits while the client is behind. */
  async #give(chunk: Uint8Array, at: number): Promise<void> {
    const { start, end } = this.#range
    const part = chunk.subarray(Math.max(0, start - at), Math.max(0, end - at))
    if (part.length === 0) return
    this.#given = true
    this.#flow.resolve()
    this.#wanted = Promise.withResolvers()
    if (!this.push(part)) await this.#wanted.promise
    this.#gone.signal.throwIfAborted()
  }

  #finish(): void {
    this.push(null)
    this.#flow.resolve()
    this.#end()
  }

  #end(): void {
    this.#satisfied = true
    this.#gone.abort(new StarlingError('CLOSED', 'nobody takes the bytes any more'))
    this.#wanted.resolve()
  }
}
