import { type Algorithm, type Digest, finishDigest, startDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { buffers } from './buffers.ts'

export interface InOrderHashOptions {
  readonly algorithm: Algorithm
  readonly read: (buffer: Uint8Array, position: number) => Promise<void>
  /** The end of the bytes that are there from `position` on; `position` when there are none. */
  readonly reach: (position: number) => number
}

/** What is asked of the buffers; they may give less. */
const READ_BYTES = 1024 * 1024

/**
 * Hashes a file that fills up in any order, from its start as far as it is filled without a gap, so
 * that little is left to be hashed when the last piece comes.
 */
export class InOrderHash {
  readonly #options: InOrderHashOptions
  #run: Run
  #failure: { readonly error: unknown } | undefined
  #stopped = false

  constructor(options: InOrderHashOptions) {
    this.#options = options
    this.#run = newRun(options.algorithm)
  }

  /** Bytes hashed so far. */
  get position(): number {
    return this.#run.position
  }

  /** There may be more to hash. */
  advance(): void {
    if (this.#stopped || this.#failure !== undefined) return
    const run = this.#run
    if (this.#options.reach(run.position) === run.position) return
    run.busy ??= this.#hash(run).finally(() => {
      run.busy = undefined
      if (run === this.#run) this.advance()
    })
  }

  /**
   * The digest of the first `sizeBytes` bytes, all of which must be there. It can be asked for again.
   * Throws what reading has thrown, and `CLOSED` once it was stopped.
   */
  async finish(sizeBytes: number): Promise<Digest> {
    this.advance()
    while (this.#run.busy !== undefined) await this.#run.busy
    if (this.#failure !== undefined) throw this.#failure.error
    const { hash, position } = this.#run
    if (position < sizeBytes)
      throw new StarlingError('CLOSED', `hashed up to byte ${position} only`)
    return finishDigest(this.#options.algorithm, hash.copy())
  }

  /** Begins anew: bytes that were hashed have changed. */
  restart(): void {
    this.#run = newRun(this.#options.algorithm)
  }

  /** Ends it, and waits until nothing is read any more. */
  async stop(): Promise<void> {
    this.#stopped = true
    await this.#run.busy
  }

  async #hash(run: Run): Promise<void> {
    const buffer = buffers.take(READ_BYTES)
    try {
      while (run === this.#run && !this.#stopped) {
        const { position } = run
        const length = Math.min(buffer.length, this.#options.reach(position) - position)
        if (length === 0) return
        const chunk = buffer.subarray(0, length)
        await this.#options.read(chunk, position)
        run.hash.update(chunk)
        run.position += length
      }
    } catch (error) {
      if (run === this.#run && !this.#stopped) this.#failure = { error }
    } finally {
      buffers.giveBack(buffer)
    }
  }
}

interface Run {
  readonly hash: ReturnType<typeof startDigest>
  position: number
  busy: Promise<void> | undefined
}

function newRun(algorithm: Algorithm): Run {
  return { hash: startDigest(algorithm), position: 0, busy: undefined }
}
