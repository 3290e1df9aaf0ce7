import type { Hash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { type Algorithm, algorithmOf, type Digest, finishDigest, startDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { type Disk, type DiskFile, diskError } from './disk.ts'
import { type FollowRange, followSource, Growth } from './follow.ts'
import { type ByteRange, RangeStream, withinSize } from './range-stream.ts'
import { type Ownership, Writer } from './writer.ts'

export interface BlobStat {
  readonly sizeBytes: number
}

/** A verified partial, ready to be given its final name. */
export interface Verified extends BlobStat {
  readonly path: string
  /** Makes the bytes durable; a failure is final. */
  sync(): Promise<void>
}

export interface PartialOptions {
  readonly disk: Disk
  readonly path: string
  /** The algorithm hashed as bytes arrive; another one costs a second reading at commit. */
  readonly algorithm: Algorithm
  /** Makes it a blob under its digest, or drops it when that blob is held. */
  readonly settle: (digest: Digest, verified: Verified) => Promise<BlobStat>
  /** Called once, when this partial is over and its name can be opened again. */
  readonly onEnd: () => void
  readonly signal?: AbortSignal
}

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'committing'; readonly done: Promise<unknown> }
  | { readonly kind: 'over'; readonly error: StarlingError }

const READ_BYTES = 1024 * 1024

/** An append-only file on its way to become a blob. Its bytes are hashed as they arrive. */
export class Partial {
  readonly #options: PartialOptions
  readonly #file: DiskFile
  readonly #hash: Hash
  readonly #writer: Writer
  readonly #growth = new Growth()
  #onGrown: (writtenBytes: number) => void = () => {}
  #state: State = { kind: 'open' }
  /** The partial itself and each follower; the last of them closes the file. */
  #users = 1

  /**
   * Opens the file, going on where it ends: what it holds is read and hashed again, at about
   * 1 GB/s. Throws `DISK_FULL` or `DISK_FAILED`.
   */
  static async open(options: PartialOptions): Promise<Partial> {
    try {
      const file = await openUnshared(options.disk, options.path)
      try {
        const hash = startDigest(options.algorithm)
        const offset = await hashFile(file, hash, options.signal)
        return new Partial(options, file, hash, offset)
      } catch (error) {
        await file.close()
        throw error
      }
    } catch (error) {
      options.onEnd()
      options.signal?.throwIfAborted()
      throw diskError(error, `opening ${options.path}`)
    }
  }

  private constructor(options: PartialOptions, file: DiskFile, hash: Hash, offset: number) {
    this.#options = options
    this.#file = file
    this.#hash = hash
    this.#writer = new Writer(file, offset, () => this.#grown())
    this.#grown()
  }

  /** Bytes taken so far: where the next chunk goes. */
  get offset(): number {
    return this.#writer.acceptedBytes
  }

  /**
   * Takes the next chunk, which the caller may not change afterwards, nor look at when it is given
   * away. Waits while the disk is behind. Throws `DISK_FULL` or `DISK_FAILED`, and then the partial
   * is discarded.
   */
  async append(chunk: Uint8Array, ownership: Ownership = 'lent'): Promise<void> {
    this.#checkOpen()
    this.#hash.update(chunk)
    await this.#orDiscard(this.#writer.append(chunk, ownership))
  }

  /** Waits until the file has all bytes taken, so that they survive a kill; throws as `append`. */
  async flush(): Promise<void> {
    this.#checkOpen()
    await this.#orDiscard(this.#writer.flush())
  }

  /**
   * Makes it a blob: verified, durable and under its final name, or already held. Throws
   * `DIGEST_INVALID`, `DISK_FULL` or `DISK_FAILED`, and then the partial is discarded.
   */
  async commit(expected: Digest): Promise<BlobStat> {
    this.#checkOpen()
    const done = this.#commit(expected)
    this.#state = { kind: 'committing', done: done.catch(() => undefined) }
    return done
  }

  /**
   * A stream that grows with the file. The last {@link WITHHELD_BYTES} come only after the commit;
   * if the partial is discarded or closed, the stream is destroyed with the error.
   */
  follow(range: FollowRange): Readable {
    if (this.#state.kind === 'over') throw this.#state.error
    const { sizeBytes, start = 0, end = sizeBytes } = range
    const within = withinSize({ start, end }, sizeBytes)
    this.#users += 1
    const source = followSource(this.#file, this.#growth, sizeBytes, () => this.#release())
    return new RangeStream(source, within)
  }

  /** Calls the listener, the only one, whenever more bytes can be read, and at once. */
  onGrown(listener: (writtenBytes: number) => void): void {
    this.#onGrown = listener
    this.#grown()
  }

  /** A stream of bytes that are written; nobody has verified them. Throws `RANGE_INVALID`. */
  read(range: ByteRange): RangeStream {
    if (this.#state.kind === 'over') throw this.#state.error
    const { start, end } = withinSize(range, this.#writer.writtenBytes)
    this.#users += 1
    const source = followSource(this.#file, this.#growth, end, () => this.#release())
    return new RangeStream({ ...source, reach: async () => end }, { start, end })
  }

  /** Gives up: the file is removed. A commit under way is let through. */
  async discard(): Promise<void> {
    if (this.#state.kind === 'committing') await this.#state.done
    await this.#discard(new StarlingError('CLOSED', 'the partial was discarded'))
  }

  /** Stops here once what was taken is written, and keeps the file so that it can be opened again and go on. */
  async close(): Promise<void> {
    if (this.#state.kind === 'committing') await this.#state.done
    if (this.#state.kind !== 'open') return
    await this.#writer.flush().catch(() => this.discard())
    await this.#end(new StarlingError('CLOSED', 'the partial was closed'))
  }

  async #commit(expected: Digest): Promise<BlobStat> {
    const stat = await this.#orDiscard(this.#verifyAndSettle(expected))
    this.#growth.tell({ kind: 'complete', sizeBytes: stat.sizeBytes })
    await this.#end(new StarlingError('CLOSED', 'the partial has become a blob'))
    return stat
  }

  async #verifyAndSettle(expected: Digest): Promise<BlobStat> {
    await this.#writer.flush()
    const found = await this.#found(algorithmOf(expected))
    if (found !== expected) {
      throw new StarlingError('DIGEST_INVALID', `the bytes are ${found}, not ${expected}`)
    }
    return this.#options.settle(expected, {
      path: this.#options.path,
      sizeBytes: this.#writer.writtenBytes,
      sync: () => this.#writer.sync()
    })
  }

  async #found(algorithm: Algorithm): Promise<Digest> {
    if (algorithm === this.#options.algorithm) return finishDigest(algorithm, this.#hash)
    const hash = startDigest(algorithm)
    await hashFile(this.#file, hash, undefined)
    return finishDigest(algorithm, hash)
  }

  async #orDiscard<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work
    } catch (error) {
      const failure = diskError(error, `writing ${this.#options.path}`)
      await this.#discard(failure)
      throw failure
    }
  }

  async #discard(reason: StarlingError): Promise<void> {
    if (this.#state.kind === 'over') return
    await this.#end(reason, () => this.#options.disk.remove(this.#options.path))
  }

  /** The one way out of every other state; a file that cannot be removed now is removed at start. */
  async #end(error: StarlingError, remove?: () => Promise<void>): Promise<void> {
    if (this.#state.kind === 'over') return
    this.#state = { kind: 'over', error }
    this.#growth.tell({ kind: 'ended', error })
    await this.#writer.stop()
    await remove?.().catch(() => undefined)
    await this.#release()
    this.#options.onEnd()
  }

  #grown(): void {
    const { writtenBytes } = this.#writer
    this.#growth.tell({ kind: 'growing', writtenBytes })
    this.#onGrown(writtenBytes)
  }

  async #release(): Promise<void> {
    this.#users -= 1
    // A failing close says nothing new: what had to be durable was synced before.
    if (this.#users === 0) await this.#file.close().catch(() => undefined)
  }

  #checkOpen(): void {
    if (this.#state.kind === 'over') throw this.#state.error
    if (this.#state.kind === 'committing') {
      throw new StarlingError('CLOSED', 'the partial is being committed')
    }
  }
}

/**
 * Opens the file, unless it has a second name: then a power cut came between the two halves of a
 * rename, the other name is a blob, and appending here would change it. Such a name is let go.
 */
async function openUnshared(disk: Disk, path: string): Promise<DiskFile> {
  const file = await disk.openFile(path)
  const { links } = await file.stat()
  if (links <= 1) return file
  await file.close()
  await disk.remove(path)
  return disk.openFile(path)
}

/** Feeds all of the file to the hash; gives its size in bytes. */
async function hashFile(
  file: DiskFile,
  hash: Hash,
  signal: AbortSignal | undefined
): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(READ_BYTES)
  let position = 0
  for (;;) {
    signal?.throwIfAborted()
    const bytesRead = await file.read(buffer, position)
    if (bytesRead === 0) return position
    hash.update(buffer.subarray(0, bytesRead))
    position += bytesRead
  }
}
