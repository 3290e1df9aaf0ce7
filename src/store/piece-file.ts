import type { Readable } from 'node:stream'
import { type Algorithm, algorithmOf, type Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { diskError } from './disk.ts'
import type { FollowRange } from './follow.ts'
import { InOrderHash } from './in-order-hash.ts'
import type { BlobStat } from './partial.ts'
import type { PieceFileOptions } from './piece-file-options.ts'
import { PieceFollowers } from './piece-followers.ts'
import { PieceMap } from './piece-map.ts'
import { PieceStorage } from './piece-storage.ts'
import { PieceWrites } from './piece-writes.ts'
import { type ByteRange, RangeStream, withinSize } from './range-stream.ts'
import { SYNC_EVERY_BYTES } from './writer.ts'

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'committing'; readonly done: Promise<unknown> }
  | { readonly kind: 'blob'; readonly sizeBytes: number }
  | { readonly kind: 'over'; readonly error: StarlingError }

/**
 * A sparse file on its way to become a blob, filled piece by piece in any order. Whoever writes a
 * piece has verified it; all of the blob is verified once more before it is one. What is here
 * survives the process, and what was written 128 MiB ago a power cut too.
 */
export class PieceFile {
  readonly #options: PieceFileOptions
  readonly #storage: PieceStorage
  readonly #map: PieceMap
  readonly #writes: PieceWrites
  readonly #hash: InOrderHash
  readonly #writing = new Map<number, Promise<void>>()
  #state: State = { kind: 'open' }
  #ending: Promise<void> | undefined
  /** The file itself and each stream; the last of them closes it. */
  #users = 1
  /** Followers of bytes that turned out wrong end; those that come later begin a new one. */
  #followers: PieceFollowers

  /**
   * Opens the file, going on with the pieces left from before if they are of the same size and of a
   * blob of the same size. They are read and hashed again, at about 1 GB/s. Throws `DISK_FULL` or
   * `DISK_FAILED`.
   */
  static async open(options: PieceFileOptions): Promise<PieceFile> {
    const { name, pieceBytes, sizeBytes, signal } = options
    try {
      const opened = await PieceStorage.open(options, { pieceBytes, sizeBytes }, signal)
      return new PieceFile(options, opened.storage, opened.held)
    } catch (error) {
      options.ended()
      signal?.throwIfAborted()
      throw diskError(error, `opening the pieces of ${name}`)
    }
  }

  private constructor(options: PieceFileOptions, storage: PieceStorage, held: Map<number, Buffer>) {
    this.#options = options
    this.#storage = storage
    this.#map = new PieceMap(options.pieceBytes, options.sizeBytes, held)
    this.#followers = new PieceFollowers(this.#map)
    const { syncEveryBytes = SYNC_EVERY_BYTES } = options
    this.#writes = new PieceWrites(syncEveryBytes, () => storage.sync())
    this.#hash = this.#newHash(options.algorithm)
    this.#hash.advance()
  }

  get pieceBytes(): number {
    return this.#map.pieceBytes
  }

  /** Of the whole blob; `undefined` while nobody knows. */
  get sizeBytes(): number | undefined {
    return this.#map.sizeBytes
  }

  get heldBytes(): number {
    return this.#map.heldBytes
  }

  has(piece: number): boolean {
    return this.#map.has(piece)
  }

  /** The SHA-256 that a piece was written with; `undefined` when it is not held. */
  hashOf(piece: number): Buffer | undefined {
    return this.#map.hashOf(piece)
  }

  /** The pieces held, in no order, with their SHA-256. */
  held(): IterableIterator<[number, Buffer]> {
    return this.#map.entries()
  }

  /** The size has become known. Throws `SIZE_INVALID` when it is another than before. */
  async setSize(sizeBytes: number): Promise<void> {
    this.#checkOpen()
    const known = this.#map.sizeBytes
    if (known === sizeBytes) return
    if (known !== undefined) {
      throw new StarlingError('SIZE_INVALID', `the blob has ${known} bytes, not ${sizeBytes}`)
    }
    this.#map.sizeBytes = sizeBytes
    await this.#orDiscard(this.#storage.setSize(sizeBytes))
  }

  /**
   * Stores a piece that was found to have this SHA-256; the buffer is the caller's again once this
   * has resolved. Waits while the disk is behind. A piece that is held, or being written, is not
   * written again. Throws `SIZE_INVALID` for a piece that does not fit; `DISK_FULL` or `DISK_FAILED`,
   * and then the file is discarded.
   */
  write(piece: number, bytes: Uint8Array, hash: Uint8Array): Promise<void> {
    const writing =
      this.#writing.get(piece) ??
      this.#write(piece, bytes, hash).finally(() => this.#writing.delete(piece))
    this.#writing.set(piece, writing)
    return writing
  }

  /** A stream of a piece, for another node. Throws `BLOB_UNKNOWN` when it is not held. */
  read(piece: number): RangeStream {
    if (this.#state.kind !== 'committing') this.#checkOpen()
    if (!this.#map.has(piece)) {
      throw new StarlingError('BLOB_UNKNOWN', `piece ${piece} is not held here`)
    }
    const end = this.#map.endOf(piece)
    return this.#stream({ start: this.#map.startOf(piece), end }, async () => end)
  }

  /**
   * A stream in order, which grows as pieces come. The last 1 MiB (`WITHHELD_BYTES`) comes only after
   * the commit; it is destroyed when the file is given up, or when any piece is dropped.
   */
  follow({ sizeBytes, start = 0, end = sizeBytes }: FollowRange): Readable {
    if (this.#state.kind !== 'committing') this.#checkOpen()
    const followers = this.#followers
    return this.#stream(withinSize({ start, end }, sizeBytes), position =>
      followers.reach(position, sizeBytes)
    )
  }

  /** Lets a piece go that was found to be wrong. */
  async drop(piece: number): Promise<void> {
    this.#checkOpen()
    if (!this.#map.delete(piece)) return
    if (this.#hash.position > this.#map.startOf(piece)) this.#hash.restart()
    this.#followers.fail(new StarlingError('DATA_DAMAGED', 'a piece was wrong'))
    this.#followers = new PieceFollowers(this.#map)
    this.#hash.advance()
    await this.#orDiscard(this.#storage.drop(piece))
  }

  /**
   * Makes it a blob: verified, durable and under its final name, or already held. Throws
   * `DIGEST_INVALID` when its bytes are others, and `SIZE_INVALID` when pieces are missing: then it
   * stays open, so that wrong pieces can be dropped. Throws `DISK_FULL` or `DISK_FAILED`, and then
   * it is discarded.
   */
  async commit(expected: Digest): Promise<BlobStat> {
    this.#checkOpen()
    const { sizeBytes } = this.#map
    if (sizeBytes === undefined || !this.#map.isWhole) {
      throw new StarlingError('SIZE_INVALID', `${this.#options.name} is not whole`)
    }
    const done = this.#commit(expected, sizeBytes)
    this.#state = { kind: 'committing', done: done.catch(ignore) }
    return done
  }

  /** Gives up: the file is removed. A commit under way is let through. */
  async discard(): Promise<void> {
    if (this.#state.kind === 'committing') await this.#state.done
    await this.#discard(new StarlingError('CLOSED', 'the pieces were discarded'))
  }

  /** Stops here once what was taken is written, and keeps the pieces to go on with. */
  async close(): Promise<void> {
    if (this.#state.kind === 'committing') await this.#state.done
    if (this.#state.kind !== 'open') return
    await Promise.allSettled(this.#writing.values())
    await this.#end({ kind: 'over', error: new StarlingError('CLOSED', 'the pieces were closed') })
  }

  async #write(piece: number, bytes: Uint8Array, hash: Uint8Array): Promise<void> {
    this.#checkOpen()
    if (this.#map.has(piece)) return
    const start = this.#map.startOf(piece)
    if (bytes.length !== this.#map.endOf(piece) - start) {
      throw new StarlingError('SIZE_INVALID', `piece ${piece} cannot have ${bytes.length} bytes`)
    }
    await this.#orDiscard(
      this.#writes.take(bytes.length, () => this.#storage.write(piece, start, bytes, hash))
    )
    this.#map.add(piece, Buffer.from(hash))
    this.#hash.advance()
    this.#followers.tell()
  }

  async #commit(expected: Digest, sizeBytes: number): Promise<BlobStat> {
    const found = await this.#found(algorithmOf(expected), sizeBytes)
    if (found !== expected) {
      this.#state = { kind: 'open' }
      throw new StarlingError('DIGEST_INVALID', `the bytes are ${found}, not ${expected}`)
    }
    const verified = {
      path: this.#storage.path,
      sizeBytes,
      sync: () => this.#writes.settled().then(() => this.#storage.syncBytes())
    }
    const stat = await this.#orDiscard(this.#options.settle(expected, verified))
    await this.#storage.removeClaims().catch(ignore)
    await this.#end({ kind: 'blob', sizeBytes })
    return stat
  }

  async #found(algorithm: Algorithm, sizeBytes: number): Promise<Digest> {
    const isRunning = algorithm === this.#options.algorithm
    const hash = isRunning ? this.#hash : this.#newHash(algorithm)
    return this.#orDiscard(hash.finish(sizeBytes))
  }

  #newHash(algorithm: Algorithm): InOrderHash {
    return new InOrderHash({
      algorithm,
      read: (buffer, position) => this.#storage.read(buffer, position),
      reach: position => this.#map.reach(position)
    })
  }

  #stream(range: ByteRange, reach: (position: number) => Promise<number>): RangeStream {
    this.#users += 1
    return new RangeStream(
      {
        read: (buffer, position) => this.#storage.read(buffer, position),
        reach,
        release: () => this.#release()
      },
      range
    )
  }

  async #orDiscard<Result>(work: Promise<Result>): Promise<Result> {
    try {
      return await work
    } catch (error) {
      const failure = diskError(error, `writing ${this.#storage.path}`)
      await this.#discard(failure)
      throw failure
    }
  }

  #discard(error: StarlingError): Promise<void> {
    return this.#end({ kind: 'over', error }, () => this.#storage.remove())
  }

  /** The one way out of every other state; a file that cannot be removed now is removed at start. */
  #end(state: State, remove: () => Promise<void> = async () => {}): Promise<void> {
    this.#ending ??= this.#endOnce(state, remove)
    return this.#ending
  }

  async #endOnce(state: State, remove: () => Promise<void>): Promise<void> {
    this.#state = state
    if (state.kind === 'over') this.#followers.fail(state.error)
    else this.#followers.verified()
    await this.#hash.stop()
    await this.#writes.settled().catch(ignore)
    await remove().catch(ignore)
    await this.#storage.closeClaims().catch(ignore)
    await this.#release()
    this.#options.ended()
  }

  async #release(): Promise<void> {
    this.#users -= 1
    // A failing close says nothing new: what had to be durable was synced before.
    if (this.#users === 0) await this.#storage.close().catch(ignore)
  }

  #checkOpen(): void {
    if (this.#state.kind === 'over') throw this.#state.error
    if (this.#state.kind === 'open') return
    throw new StarlingError('CLOSED', 'the pieces have become a blob')
  }
}

function ignore(): void {}
