import { Readable } from 'node:stream'
import { type Digest, digestOf } from '../../../src/digest.ts'
import { StarlingError } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import type { Blobs } from '../../../src/store/blobs.ts'
import { Listeners } from '../../../src/store/listeners.ts'
import type { BlobStat } from '../../../src/store/partial.ts'
import type { ByteRange } from '../../../src/store/range-stream.ts'
import { Turns } from '../../../src/store/turns.ts'
import type { Disk } from '../machine/disk.ts'

/** What a class shows to others. */
export type Face<Class> = Pick<Class, keyof Class>

/**
 * What stands in for the store's blobs: the same promises, over the blobs of a simulated disk. What
 * the store itself must keep to make them is shown by its own tests, on a disk that loses power.
 */
export class SimBlobs
  implements Omit<Face<Blobs>, 'partial' | 'pieces' | 'close' | 'whole' | 'putAll'>
{
  readonly #disk: Disk
  /** As the process knows them; on disk there may be fewer since, or rotten ones. */
  readonly #sizes = new Map<Digest, number>()
  readonly #turns = new Turns<Digest>()
  readonly #held = new Listeners<[Digest, BlobStat]>(silentLog)
  readonly #lost = new Listeners<[Digest]>(silentLog)
  /** Told of each blob that is about to be removed because nothing calls for it. */
  onSweep: (digest: Digest) => void = () => undefined

  constructor(disk: Disk) {
    this.#disk = disk
    for (const [digest, bytes] of disk.blobs) this.#sizes.set(digest, bytes.length)
  }

  stat(digest: Digest): BlobStat | undefined {
    const sizeBytes = this.#sizes.get(digest)
    return sizeBytes === undefined ? undefined : { sizeBytes }
  }

  async look(digest: Digest): Promise<BlobStat | undefined> {
    if (this.stat(digest) !== undefined && !this.#disk.blobs.has(digest)) await this.#lose(digest)
    return this.stat(digest)
  }

  digests(): IterableIterator<Digest> {
    return this.#sizes.keys()
  }

  totals(): { count: number; bytes: number } {
    return { count: this.#sizes.size, bytes: this.#sizes.values().reduce((sum, n) => sum + n, 0) }
  }

  async read(digest: Digest, range?: ByteRange): Promise<Readable> {
    const bytes = await this.bytes(digest)
    return Readable.from([bytes.subarray(range?.start ?? 0, range?.end ?? bytes.length)])
  }

  async bytes(digest: Digest): Promise<Buffer> {
    if (this.stat(digest) === undefined) throw unknown(digest)
    const bytes = this.#disk.blobs.get(digest)
    if (bytes !== undefined && digestOf(bytes) === digest) return bytes
    await this.#lose(digest)
    throw unknown(digest)
  }

  /** None: every manifest is read again. */
  async *bytesKnown(): AsyncGenerator<readonly [Digest, Buffer], void> {}

  async check(digest: Digest): Promise<'sound' | 'damaged' | 'gone'> {
    if (this.stat(digest) === undefined) return 'gone'
    const bytes = this.#disk.blobs.get(digest)
    if (bytes !== undefined && digestOf(bytes) === digest) return 'sound'
    await this.#lose(digest)
    return 'damaged'
  }

  /** Durable, and told to the listeners, once it returns. */
  async put(bytes: Uint8Array, digest: Digest): Promise<void> {
    if (digestOf(bytes) !== digest) {
      throw new StarlingError('DIGEST_INVALID', `the bytes are not ${digest}`)
    }
    await this.#turns.take(digest, async () => {
      if (this.stat(digest) !== undefined) return
      await this.#written(bytes, digest)
      this.#sizes.set(digest, bytes.length)
      this.#held.tell(digest, { sizeBytes: bytes.length })
    })
  }

  async partials(): Promise<string[]> {
    return []
  }

  async removePartial(): Promise<boolean> {
    return false
  }

  async pieceNames(): Promise<string[]> {
    return []
  }

  async removePieces(): Promise<boolean> {
    return false
  }

  remove(digest: Digest, mayGo: () => boolean = () => true): Promise<boolean> {
    return this.#turns.take(digest, async () => {
      if (this.stat(digest) === undefined || !mayGo()) return false
      this.onSweep(digest)
      this.#sizes.delete(digest)
      await this.#disk.removeBlob(digest)
      return true
    })
  }

  onHeld(listener: (digest: Digest, stat: BlobStat) => void): () => void {
    return this.#held.add(listener)
  }

  onLost(listener: (digest: Digest) => void): () => void {
    return this.#lost.add(listener)
  }

  async #written(bytes: Uint8Array, digest: Digest): Promise<void> {
    try {
      await this.#disk.putBlob(digest, Buffer.from(bytes))
    } catch (cause) {
      throw new StarlingError('DISK_FAILED', `${digest} was not stored`, { cause })
    }
  }

  #lose(digest: Digest): Promise<void> {
    return this.#turns.take(digest, async () => {
      if (!this.#sizes.delete(digest)) return
      await this.#disk.removeBlob(digest).catch(() => undefined)
      this.#lost.tell(digest)
    })
  }
}

function unknown(digest: Digest): StarlingError {
  return new StarlingError('BLOB_UNKNOWN', `${digest} is not held here`, { detail: digest })
}
