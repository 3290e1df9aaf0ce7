import { Cache } from '../cache.ts'
import { algorithmOf, type Digest, digestOf } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import { BlobFile } from './blob-file.ts'
import type { Holdings } from './holdings.ts'
import { blobPath, type Layout } from './layout.ts'
import type { ManifestCopies } from './manifest-copies.ts'

/** Some ten thousand manifests, in the memory that a node may take beside its idle 150 MiB. */
const MAX_CACHED_BYTES = 32 * 1024 * 1024

/** Blobs that are asked for whole, in memory: manifests. */
export class SmallBlobs {
  readonly #layout: Layout
  readonly #holdings: Holdings
  readonly #copies: ManifestCopies
  /** Their digest was checked when they were read. */
  readonly #cached = new Cache<Digest, Buffer>(MAX_CACHED_BYTES, bytes => bytes.length)

  constructor(layout: Layout, holdings: Holdings, copies: ManifestCopies) {
    this.#layout = layout
    this.#holdings = holdings
    this.#copies = copies
  }

  /** See `Blobs.bytes`; `undefined` when the blob is not held, or its file is damaged. */
  async bytes(digest: Digest, limitBytes: number): Promise<Buffer | undefined> {
    const stat = this.#holdings.stat(digest)
    if (stat === undefined) return undefined
    if (stat.sizeBytes > limitBytes) {
      throw new StarlingError('SIZE_INVALID', `${digest} has more than ${limitBytes} bytes`)
    }
    const cached = this.#cached.get(digest)
    if (cached !== undefined) return cached
    const bytes = await this.#read(digest, stat.sizeBytes)
    if (bytes !== undefined) {
      this.#cached.set(digest, bytes)
      this.#copies.add(digest, bytes)
      return bytes
    }
    await this.#holdings.lose(
      digest,
      'its bytes do not match its digest',
      async () => (await this.#read(digest, stat.sizeBytes)) === undefined
    )
    return undefined
  }

  /** See `Blobs.whole`; `undefined` when the blob is not held, or its file is gone or cut short. */
  async whole(digest: Digest): Promise<Buffer | undefined> {
    const stat = this.#holdings.stat(digest)
    if (stat === undefined) return undefined
    const bytes = await this.#load(digest, stat.sizeBytes)
    if (bytes !== undefined) return bytes
    await this.#holdings.lose(
      digest,
      'its file is missing or cut short',
      async () => (await this.#load(digest, stat.sizeBytes)) === undefined
    )
    return undefined
  }

  /** See `Blobs.bytesKnown`. */
  async *known(): AsyncGenerator<readonly [Digest, Buffer], void> {
    for await (const copies of this.#copies.read()) {
      for (const [digest, bytes] of copies) {
        if (this.#holdings.stat(digest) === undefined) this.#copies.remove(digest)
        else yield [digest, bytes]
      }
    }
  }

  /** The blob has gone. */
  forget(digest: Digest): void {
    this.#cached.delete(digest)
    this.#copies.remove(digest)
  }

  close(): Promise<void> {
    return this.#copies.close()
  }

  /** The verified bytes; `undefined` when they are damaged in any way. */
  async #read(digest: Digest, sizeBytes: number): Promise<Buffer | undefined> {
    const bytes = await this.#load(digest, sizeBytes)
    return bytes && digestOf(bytes, algorithmOf(digest)) === digest ? bytes : undefined
  }

  /** What the file has; `undefined` when it cannot be read or has another size. */
  async #load(digest: Digest, sizeBytes: number): Promise<Buffer | undefined> {
    const file = await BlobFile.open(blobPath(this.#layout, digest), sizeBytes)
    try {
      return await file?.whole()
    } catch (error) {
      if (isCode(error, 'DATA_DAMAGED')) return undefined
      throw error
    } finally {
      await file?.close()
    }
  }
}
