import { createHash } from 'node:crypto'
import type { PieceBuffers } from './piece-buffers.ts'
import { STALL_LIMITS, StallWatch } from './stall.ts'

export interface PieceFillingOptions {
  readonly buffers: PieceBuffers
  readonly lengthBytes: number
  /** Told of what came, a portion at a time. */
  readonly onBytes: (bytes: number) => void
  /** Asked after each portion; no more is read before what it gives has resolved. */
  readonly pace: (bytes: number) => Promise<void> | undefined
  /** Next to nothing came for so long that no more is to be expected. */
  readonly onStall: () => void
}

/** Enough that a limit, or another call into OpenSSL, costs little; it still lies in the cache then. */
const PORTION_BYTES = 128 * 1024

/** A piece that comes in, chunk by chunk, and is hashed as it does. */
export class PieceFilling {
  readonly bytes: Buffer
  /** Gives the memory back; may be called again. */
  readonly release: () => void
  readonly #options: PieceFillingOptions
  readonly #hash = createHash('sha256')
  readonly #watch: StallWatch
  #filledBytes = 0
  #hashedBytes = 0
  #toldBytes = 0

  constructor(options: PieceFillingOptions) {
    this.#options = options
    const { buffer, release } = options.buffers.take(options.lengthBytes)
    this.bytes = buffer
    this.release = release
    this.#watch = new StallWatch(STALL_LIMITS, options.onStall)
    this.#watch.waiting()
  }

  /** Copies a chunk, which must fit; what it gives holds back the next one. */
  take(chunk: Buffer): Promise<void> | undefined {
    this.bytes.set(chunk, this.#filledBytes)
    this.#filledBytes += chunk.length
    this.#watch.received(chunk.length)
    this.#watch.waiting()
    const unhashedBytes = this.#filledBytes - this.#hashedBytes
    if (unhashedBytes < PORTION_BYTES) return undefined
    this.#hashFilled()
    this.#tell()
    const wait = this.#options.pace(unhashedBytes)
    if (wait === undefined) return undefined
    // Whoever is not asked for bytes is not stalling.
    this.#watch.resting()
    return wait.then(() => this.#watch.waiting())
  }

  /** No more comes. */
  stop(): void {
    this.#watch.stop()
    this.#tell()
  }

  /** The SHA-256 of all that came; to be called once. */
  digest(): Buffer {
    this.#hashFilled()
    return this.#hash.digest()
  }

  #tell(): void {
    this.#options.onBytes(this.#filledBytes - this.#toldBytes)
    this.#toldBytes = this.#filledBytes
  }

  #hashFilled(): void {
    this.#hash.update(this.bytes.subarray(this.#hashedBytes, this.#filledBytes))
    this.#hashedBytes = this.#filledBytes
  }
}
