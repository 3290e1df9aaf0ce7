import { createHash } from 'node:crypto'
import { Readable, type Writable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { StarlingError } from '../errors.ts'
import type { Kernel } from '../kernel.ts'
import { buffers } from './buffers.ts'
import { type FileBytes, sendByKernel } from './kernel-send.ts'
import { sendRange } from './send-range.ts'

/** Bytes from `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** A file, or something that grows like one. */
export interface RangeSource {
  /** Fills the buffer from `position`; throws when there are not as many bytes. */
  read(buffer: Uint8Array, position: number): Promise<void>
  /** As {@link Kernel.sendFile} does, from this file: only where it does not grow. */
  moveTo?(kernel: Kernel, socket: number, position: number, count: number): Promise<number>
  /** Waits until there are bytes after `position`, and gives the position at which they end. */
  reach(position: number): Promise<number>
  /** Called once, when the stream has ended or was destroyed. */
  release(): Promise<void>
}

/**
 * Each chunk is a buffer of its own, since a Readable is not told when its consumer has done with
 * one; so this costs twice the processor time of {@link RangeStream.sendTo}, with chunks of any
 * size, and is for those who have to look at the bytes.
 */
const CHUNK_BYTES = 512 * 1024

/** Two chunks: Node asks for the second while the first is being consumed, the read ahead. */
const BUFFERED_BYTES = 2 * CHUNK_BYTES

/** A range of a source as a stream; the source is released when the stream ends or is destroyed. */
export class RangeStream extends Readable {
  readonly #source: RangeSource
  readonly #end: number
  #position: number

  constructor(source: RangeSource, range: ByteRange) {
    super({ highWaterMark: BUFFERED_BYTES })
    this.#source = source
    this.#position = range.start
    this.#end = range.end
  }

  /**
   * Writes all of the range instead of being read, and is destroyed after that. The writable must
   * be done with the bytes of a write when it says so; it is not ended. Calls `onBytes` for what
   * has left. Throws when the writable fails or closes first, or when the source breaks off.
   */
  async sendTo(to: Writable, onBytes: (count: number) => void): Promise<void> {
    try {
      const bytes = this.#fileBytes()
      if (bytes !== undefined) await sendByKernel(bytes, to, onBytes)
      await sendRange(buffer => this.#fill(buffer), this.#leftBytes, to, onBytes)
    } finally {
      // It ends before its time as far as a Readable goes; a file that fails to close is read all the same.
      const released = finished(this).catch(() => undefined)
      this.destroy()
      await released
    }
  }

  /** Hashes all of the range instead of being read, and is destroyed after that. Throws as {@link sendTo}. */
  async sha256(): Promise<Buffer> {
    const hash = createHash('sha256')
    const buffer = buffers.take(this.#leftBytes)
    try {
      for (;;) {
        const filled = await this.#fill(buffer)
        if (filled === undefined) return hash.digest()
        hash.update(filled)
      }
    } finally {
      buffers.giveBack(buffer)
      this.destroy()
    }
  }

  override _read(): void {
    this.#next().then(
      chunk => {
        if (!this.destroyed) this.push(chunk)
      },
      error => this.destroy(error)
    )
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    this.#source.release().then(
      () => callback(error),
      failure => callback(error ?? failure)
    )
  }

  get #leftBytes(): number {
    return this.#end - this.#position
  }

  #fileBytes(): FileBytes | undefined {
    const { moveTo } = this.#source
    if (moveTo === undefined) return undefined
    return {
      sizeBytes: this.#leftBytes,
      fill: buffer => this.#fill(buffer),
      move: async (kernel, socket, maxBytes) => {
        const count = Math.min(maxBytes, this.#leftBytes)
        const moved = await moveTo(kernel, socket, this.#position, count)
        this.#position += moved
        return moved
      }
    }
  }

  async #next(): Promise<Buffer | null> {
    const length = Math.min(CHUNK_BYTES, this.#leftBytes)
    return (await this.#fill(Buffer.allocUnsafeSlow(length))) ?? null
  }

  /** Reads what comes next, as much as there is and fits; nothing at the end of the range. */
  async #fill(buffer: Buffer): Promise<Buffer | undefined> {
    if (this.#position >= this.#end) return undefined
    const reach = await this.#source.reach(this.#position)
    if (this.destroyed) throw new StarlingError('CLOSED', 'the stream was destroyed')
    const length = Math.min(buffer.length, this.#end - this.#position, reach - this.#position)
    const filled = buffer.subarray(0, length)
    await this.#source.read(filled, this.#position)
    this.#position += length
    return filled
  }
}

/** The range, checked against the size; the whole when none is given. Throws `RANGE_INVALID`. */
export function withinSize(range: ByteRange | undefined, sizeBytes: number): ByteRange {
  const { start, end } = range ?? { start: 0, end: sizeBytes }
  if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end))) throw outside(sizeBytes)
  if (start < 0 || start > end || end > sizeBytes) throw outside(sizeBytes)
  return { start, end }
}

function outside(sizeBytes: number): StarlingError {
  return new StarlingError('RANGE_INVALID', `the range does not lie within ${sizeBytes} bytes`)
}
