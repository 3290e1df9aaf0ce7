import type { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import { MAX_MANIFEST_BYTES } from '../manifest.ts'
import type { Blobs } from '../store/blobs.ts'
import type { ByteRange } from '../store/range-stream.ts'
import type { Cluster } from './cluster.ts'
import type { Downloads } from './downloads.ts'
import { unavailable } from './unavailable.ts'

/** A blob that can be given now. */
export interface OpenBlob {
  readonly sizeBytes: number
  open(range?: ByteRange): Promise<Readable>
}

/** Where the bytes of a blob come from: the disk, or a peer, and then the disk has them after it. */
export class BlobSource {
  readonly #blobs: Blobs
  readonly #downloads: Downloads
  readonly #cluster: Cluster

  constructor(options: {
    readonly blobs: Blobs
    readonly downloads: Downloads
    readonly cluster: Cluster
  }) {
    this.#blobs = options.blobs
    this.#downloads = options.downloads
    this.#cluster = options.cluster
  }

  /**
   * Gives the blob; `undefined` when it is surely nowhere. Throws `UNAVAILABLE` when a member that
   * cannot be asked now may have it.
   */
  async open(digest: Digest, signal: AbortSignal): Promise<OpenBlob | undefined> {
    return this.#held(digest) ?? (await this.#streamed(digest, signal))
  }

  /** The whole of a manifest; as {@link open}. */
  async bytes(digest: Digest, signal: AbortSignal): Promise<Buffer | undefined> {
    try {
      if (this.#blobs.stat(digest) !== undefined) return await this.#whole(digest)
    } catch (error) {
      // It had rotted, and is not held any more: a peer may have it sound.
      if (!isCode(error, 'BLOB_UNKNOWN')) throw error
    }
    try {
      await aborted(this.#downloads.start(digest).done, signal)
    } catch (error) {
      if (this.#held(digest) === undefined) return this.#absent(digest, error)
    }
    return this.#whole(digest)
  }

  #whole(digest: Digest): Promise<Buffer> {
    return this.#blobs.bytes(digest, MAX_MANIFEST_BYTES)
  }

  #held(digest: Digest): OpenBlob | undefined {
    const stat = this.#blobs.stat(digest)
    return stat && { ...stat, open: range => this.#blobs.read(digest, range) }
  }

  /** A blob that comes from a peer: it can be read while it is being stored. */
  async #streamed(digest: Digest, signal: AbortSignal): Promise<OpenBlob | undefined> {
    const download = this.#downloads.start(digest)
    try {
      const { sizeBytes } = await aborted(download.opened, signal)
      return {
        sizeBytes,
        open: async range => this.#held(digest)?.open(range) ?? download.follow(sizeBytes, range)
      }
    } catch (error) {
      return this.#held(digest) ?? this.#absent(digest, error)
    }
  }

  /** What it means that a blob could not be fetched: it is nowhere, or cannot be had now. */
  #absent(digest: Digest, error: unknown): undefined {
    if (isCode(error, 'BLOB_UNKNOWN') && !this.#cluster.mayReturn()) return undefined
    if (isCode(error, 'BLOB_UNKNOWN') || isCode(error, 'PEER_FAILED')) {
      throw unavailable(`${digest} should exist, but no reachable node can give it now`, error)
    }
    throw error
  }
}

/** Waits for a promise no longer than the signal allows. */
function aborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise: abort, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  return Promise.race([promise, abort]).finally(() => signal.removeEventListener('abort', onAbort))
}
