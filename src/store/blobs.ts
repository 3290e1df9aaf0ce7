import type { Readable } from 'node:stream'
import { type Algorithm, algorithmOf, type Digest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { BlobFile } from './blob-file.ts'
import { CheckedBlob } from './checked-blob.ts'
import { type Disk, diskError, nodeDisk } from './disk.ts'
import { Holdings } from './holdings.ts'
import { blobPath, type Layout, layoutOf, makeLayout } from './layout.ts'
import { ManifestCopies } from './manifest-copies.ts'
import type { BlobStat, Partial, Verified } from './partial.ts'
import { Partials } from './partials.ts'
import type { PieceFile } from './piece-file.ts'
import { PieceFiles, type PiecesShape } from './piece-files.ts'
import { type ByteRange, RangeStream, withinSize } from './range-stream.ts'
import { Readers } from './readers.ts'
import { SmallBlobs } from './small-blobs.ts'

export interface BlobsOptions {
  readonly dataDir: string
  readonly disk?: Disk
  readonly log: Log
  /** How long to wait for another process to let go of the data directory; 5 s by default. */
  readonly lockWaitMs?: number
  readonly signal?: AbortSignal
}

/**
 * Blobs on disk, named by their digest. A file under its final name is complete, verified and
 * durable; everything else lies in `partial/`.
 */
export class Blobs {
  readonly #layout: Layout
  readonly #holdings: Holdings
  readonly #partials: Partials
  readonly #pieces: PieceFiles
  readonly #small: SmallBlobs
  readonly #readers = new Readers()
  #closing: Promise<void> | undefined

  /**
   * Opens the store, making its directories when they are absent. An index that is lost or
   * damaged is made anew from the files. Throws `DATA_LOCKED`, `DISK_FULL` or `DISK_FAILED`.
   */
  static async open(options: BlobsOptions): Promise<Blobs> {
    const { dataDir, disk = nodeDisk, log } = options
    const layout = layoutOf(dataDir)
    await makeLayout(disk, layout)
    const holdings = await Holdings.open({ ...options, layout, disk })
    try {
      const unfinished = {
        directory: layout.partial,
        disk,
        settle: (digest: Digest, verified: Verified) => holdings.keep(digest, verified)
      }
      const partials = await Partials.open(unfinished)
      const pieces = new PieceFiles(unfinished)
      await pieces.tidy()
      const copies = await ManifestCopies.open(layout.copies, log)
      const small = new SmallBlobs(layout, holdings, copies)
      return new Blobs({ layout, holdings, partials, pieces, small })
    } catch (error) {
      await holdings.close()
      throw diskError(error, 'clearing the partial files')
    }
  }

  private constructor(parts: {
    layout: Layout
    holdings: Holdings
    partials: Partials
    pieces: PieceFiles
    small: SmallBlobs
  }) {
    this.#layout = parts.layout
    this.#holdings = parts.holdings
    this.#partials = parts.partials
    this.#pieces = parts.pieces
    this.#small = parts.small
    this.#holdings.lost.add(digest => this.#readers.condemn(digest))
  }

  /** What is held under this digest, from memory. */
  stat(digest: Digest): BlobStat | undefined {
    return this.#holdings.stat(digest)
  }

  /**
   * As {@link stat}, having looked at its file: one that is gone or of another size is lost, as in
   * {@link read}. Throws `UNAVAILABLE` when the trouble is not the file's.
   */
  async look(digest: Digest): Promise<BlobStat | undefined> {
    const stat = this.stat(digest)
    const file = stat && (await this.#tryOpen(digest, stat))
    await file?.close()
    return file && stat
  }

  /** Every digest held. */
  digests(): IterableIterator<Digest> {
    return this.#holdings.digests()
  }

  totals(): { count: number; bytes: number } {
    return this.#holdings.totals()
  }

  /**
   * A stream of a blob, or of a part of it. Throws `BLOB_UNKNOWN`, also when the file turns out to
   * be missing or cut short: then it is no longer held and `onLost` is told. Damage met later
   * destroys the stream, with the same consequence. Throws `RANGE_INVALID`.
   */
  async read(digest: Digest, range?: ByteRange): Promise<Readable> {
    const stat = this.#known(digest)
    const within = withinSize(range, stat.sizeBytes)
    const file = await this.#open(digest, stat)
    this.#readers.add(digest, file)
    return new RangeStream(
      {
        read: (buffer, position) => file.read(buffer, position),
        moveTo: (...move) => file.moveTo(...move),
        reach: async () => stat.sizeBytes,
        release: async () => {
          this.#readers.remove(digest, file)
          await file.close()
          if (!file.damaged) return
          await this.#holdings.lose(digest, 'its file broke off', () => file.isStillInPlace())
        }
      },
      within
    )
  }

  /**
   * The whole of a small blob, its digest checked; nobody may change the bytes, since they are kept
   * for the next time. Throws `SIZE_INVALID` above the limit, and `BLOB_UNKNOWN` as {@link read},
   * also when the bytes have rotted.
   */
  async bytes(digest: Digest, limitBytes: number): Promise<Buffer> {
    const bytes = await this.#small.bytes(digest, limitBytes)
    if (bytes === undefined) throw unknown(digest)
    return bytes
  }

  /** The whole of a small blob as it is on disk, its digest not checked. Throws as {@link read}. */
  async whole(digest: Digest): Promise<Buffer> {
    const bytes = await this.#small.whole(digest)
    if (bytes === undefined) throw unknown(digest)
    return bytes
  }

  /**
   * What {@link bytes} gave in the past, for those who need much of it at a start: verified, and
   * read without opening a file for each. Not all that is held is among it.
   */
  bytesKnown(): AsyncGenerator<readonly [Digest, Buffer], void> {
    return this.#small.known()
  }

  /**
   * Reads a blob again and compares it with its digest. One that is damaged is lost, as in
   * {@link read}, and streams that read it end. Throws `UNAVAILABLE` when it cannot be read now.
   *
   * @param pace waited for before so many bytes are read
   */
  async check(
    digest: Digest,
    pace: (bytes: number) => Promise<void>
  ): Promise<'sound' | 'damaged' | 'gone'> {
    const stat = this.stat(digest)
    if (stat === undefined) return 'gone'
    const file = await this.#tryOpen(digest, stat)
    if (file === undefined) return 'damaged'
    try {
      if ((await file.digest(algorithmOf(digest), pace)) === digest) return 'sound'
      const reason = 'its bytes do not match its digest'
      await this.#holdings.lose(digest, reason, () => file.isStillInPlace())
      return 'damaged'
    } finally {
      await file.close()
    }
  }

  /** Stores a small blob, durably; nothing happens when it is held and sound. Throws `DIGEST_INVALID`. */
  async put(bytes: Uint8Array, digest: Digest): Promise<void> {
    const blob = CheckedBlob.of(digest, bytes)
    if (blob === undefined) throw new StarlingError('DIGEST_INVALID', `they are not ${digest}`)
    if ((await this.check(digest, async () => {})) !== 'sound') await this.putAll([blob])
  }

  /**
   * Stores small blobs durably, all in one go; what is held stays as it is. Throws `DISK_FULL` or
   * `DISK_FAILED`, and then none of those that were not held is kept.
   */
  async putAll(blobs: readonly CheckedBlob[]): Promise<void> {
    const absent = blobs.filter(({ digest }) => this.stat(digest) === undefined)
    await this.#holdings.keepAll(await this.#partials.stage(absent))
  }

  /**
   * Opens a file to be filled, or goes on with one left from before, whose bytes are read and
   * hashed again first. Names are lower-case letters, digits and hyphens. Throws `UNAVAILABLE`
   * while it is open elsewhere, `DISK_FULL` or `DISK_FAILED`.
   */
  async partial(name: string, algorithm: Algorithm, signal?: AbortSignal): Promise<Partial> {
    return this.#partials.take(name, algorithm, signal)
  }

  /** Names of the partial files of downloads, open or left from before. */
  partials(): Promise<string[]> {
    return this.#partials.names()
  }

  /** Removes what is left of a download; false while somebody has it open. */
  removePartial(name: string): Promise<boolean> {
    return this.#partials.remove(name)
  }

  /**
   * Opens a file to be filled with pieces in any order, or goes on with one left from before if it
   * is of the same shape. Names as for {@link partial}; throws as that does.
   */
  pieces(name: string, shape: PiecesShape): Promise<PieceFile> {
    return this.#pieces.open(name, shape)
  }

  /** Names of the files of pieces, open or left from before. */
  pieceNames(): Promise<string[]> {
    return this.#pieces.names()
  }

  /** Removes the pieces left of a download; false while somebody has them open. */
  removePieces(name: string): Promise<boolean> {
    return this.#pieces.remove(name)
  }

  /**
   * Lets a blob go, and its disk space once its last reader has ended. `onLost` is not told.
   *
   * @param mayGo asked at the very last, when whoever else wants to store it has to wait
   * @returns whether it was held and went
   */
  async remove(digest: Digest, mayGo: () => boolean = () => true): Promise<boolean> {
    const went = await this.#holdings.remove(digest, mayGo)
    if (went) this.#small.forget(digest)
    return went
  }

  /** Calls the listener after each durable commit, until the function given back is called. */
  onHeld(listener: (digest: Digest, stat: BlobStat) => void): () => void {
    return this.#holdings.held.add(listener)
  }

  /** Calls the listener for each blob found missing or damaged. */
  onLost(listener: (digest: Digest) => void): () => void {
    return this.#holdings.lost.add(listener)
  }

  /** Lets commits under way end; keeps partial files for the next start. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all([this.#partials.close(), this.#pieces.close(), this.#small.close()])
    // Last, since its lock keeps other processes from all of the data.
    await this.#holdings.close()
  }

  #known(digest: Digest): BlobStat {
    const stat = this.stat(digest)
    if (stat === undefined) throw unknown(digest)
    return stat
  }

  async #tryOpen(digest: Digest, stat: BlobStat): Promise<BlobFile | undefined> {
    return this.#open(digest, stat).catch((error: unknown) => {
      if (isCode(error, 'BLOB_UNKNOWN')) return undefined
      throw error
    })
  }

  async #open(digest: Digest, stat: BlobStat): Promise<BlobFile> {
    const path = blobPath(this.#layout, digest)
    const file = await BlobFile.open(path, stat.sizeBytes)
    if (file !== undefined) return file
    await this.#holdings.lose(digest, 'its file is missing or has another size', async () => {
      const again = await BlobFile.open(path, stat.sizeBytes)
      await again?.close()
      return again === undefined
    })
    throw unknown(digest)
  }
}

function unknown(digest: Digest): StarlingError {
  return new StarlingError('BLOB_UNKNOWN', `${digest} is not held here`, { detail: digest })
}
