import { Readable } from 'node:stream'
import { StarlingError } from '../errors.ts'

/** Bytes from `start` up to, not including, `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

/** A file, or something that grows like one. */
export interface RangeSource {
  /** Fills the buffer from `position`; throws when there are not as many bytes. */
  read(buffer: Uint8Array, position: number): Promise<void>
  /** Waits until there are bytes after `position`, and gives the position at which they end. */
  reach(position: number): Promise<number>
  /** Called once, when the stream has ended or was destroyed. */
  release(): Promise<void>
}

/**
 * Measured with curl, 1 GiB on tmpfs, two shared cores: 1.45 GiB/s and 0.71 s of CPU with chunks of
 * 512 KiB; about the same with 1 MiB, 0.8-1.0 with 64 and 128 KiB. Two recycled buffers of 1 MiB
 * reach 2.7 GiB/s and 0.37 s, but need to know when a chunk has left the process, which a Readable
 * does not learn from whoever consumes it; so each chunk is a buffer of its own.
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

  async #next(): Promise<Buffer | null> {
    if (this.#position >= this.#end) return null
    const reach = await this.#source.reach(this.#position)
    if (this.destroyed) return null
    const length = Math.min(CHUNK_BYTES, this.#end - this.#position, reach - this.#position)
    const buffer = Buffer.allocUnsafeSlow(length)
    await this.#source.read(buffer, this.#position)
    this.#position += length
    return buffer
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
