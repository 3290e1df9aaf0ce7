import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Digest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import { MAX_MANIFEST_BYTES } from '../manifest.ts'
import type { Blobs } from '../store/blobs.ts'
import type { ByteRange } from '../store/range-stream.ts'
import type { Cluster } from './cluster.ts'
import type { Download } from './download.ts'
import type { Intake } from './intake.ts'
import { ASK_TIMEOUT_MS } from './lookup.ts'
import { outlasting } from './outlasting.ts'
import type { Passage } from './passage.ts'
import { unavailable } from './unavailable.ts'

/** A blob that can be given now. */
export interface OpenBlob {
  readonly sizeBytes: number
  open(range?: ByteRange): Promise<Readable>
}

/**
 * Where the bytes of a blob come from: the disk, or a peer. What comes from a peer is kept where
 * there is room for it, and only passed on where there is not.
 */
export class BlobSource {
  readonly #blobs: Blobs
  readonly #intake: Intake
  readonly #passage: Passage
  readonly #cluster: Cluster

  constructor(options: {
    readonly blobs: Blobs
    readonly intake: Intake
    readonly passage: Passage
    readonly cluster: Cluster
  }) {
    this.#blobs = options.blobs
    this.#intake = options.intake
    this.#passage = options.passage
    this.#cluster = options.cluster
  }

  /**
   * Gives the blob; `undefined` when it is surely nowhere. Throws `UNAVAILABLE` when a member that
   * cannot be asked now may have it.
   */
  async open(digest: Digest, signal: AbortSignal): Promise<OpenBlob | undefined> {
    const held = this.#held(digest)
    if (held !== undefined) return held
    return this.#intake.fits(digest) ? this.#streamed(digest, signal) : this.#passed(digest)
  }

  /** The whole of a manifest; as {@link open}. */
  async bytes(digest: Digest, signal: AbortSignal): Promise<Buffer | undefined> {
    try {
      if (this.#blobs.stat(digest) !== undefined) return await this.#whole(digest)
    } catch (error) {
      // It had rotted, and is not held any more: a peer may have it sound.
      if (!isCode(error, 'BLOB_UNKNOWN')) throw error
    }
    if (!this.#intake.fits(digest)) return this.#passedBytes(digest)
    try {
      await aborted(this.#start(digest).done, signal)
    } catch (error) {
      if (isDisk(error)) return this.#passedBytes(digest)
      if (this.#held(digest) === undefined) return this.#absent(digest, error)
    }
    return this.#whole(digest)
  }

  #start(digest: Digest): Download {
    const download = this.#intake.start(digest)
    download.hurry()
    return download
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
    const download = this.#start(digest)
    try {
      const { sizeBytes } = await aborted(download.opened, signal)
      const open = async (range: ByteRange = { start: 0, end: sizeBytes }) =>
        this.#held(digest)?.open(range) ?? this.#follow(download, sizeBytes, range)
      return { sizeBytes, open }
    } catch (error) {
      if (isDisk(error)) return this.#passed(digest)
      return this.#held(digest) ?? this.#absent(digest, error)
    }
  }

  async #follow(download: Download, sizeBytes: number, range: ByteRange): Promise<Readable> {
    const { digest } = download
    try {
      const way = await download.follow(sizeBytes, range)
      const held = () => download.done
      return outlasting(way, { range, held, read: each => this.#blobs.read(digest, each) })
    } catch (error) {
      if (isDisk(error)) return this.#passage.open(digest, sizeBytes, range)
      throw error
    }
  }

  /** A blob that comes from a peer and is not kept: the disk has no room, which is no client's fault. */
  async #passed(digest: Digest): Promise<OpenBlob | undefined> {
    const { held, silent } = await this.#cluster.locate([digest], ASK_TIMEOUT_MS)
    const sizeBytes = held.get(digest)
    if (sizeBytes === undefined) {
      const code = silent.length > 0 ? 'PEER_FAILED' : 'BLOB_UNKNOWN'
      return this.#absent(digest, new StarlingError(code, `nobody said to hold ${digest}`))
    }
    return { sizeBytes, open: range => this.#passage.open(digest, sizeBytes, range) }
  }

  async #passedBytes(digest: Digest): Promise<Buffer | undefined> {
    const passed = await this.#passed(digest)
    if (passed === undefined) return undefined
    if (passed.sizeBytes > MAX_MANIFEST_BYTES) {
      throw new StarlingError('SIZE_INVALID', `${digest} is too long for a manifest`)
    }
    try {
      return await buffer(await passed.open())
    } catch (error) {
      return this.#absent(digest, error)
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

/** The trouble is this node's disk, and a peer could still give what did not go on it. */
function isDisk(error: unknown): boolean {
  return isCode(error, 'DISK_FULL') || isCode(error, 'DISK_FAILED')
}

/** Waits for a promise no longer than the signal allows. */
function aborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise: abort, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  return Promise.race([promise, abort]).finally(() => signal.removeEventListener('abort', onAbort))
}
