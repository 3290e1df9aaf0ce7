import type { Clock } from '../clock.ts'
import { type Algorithm, algorithmOf, type Digest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import type { Blobs } from './blobs.ts'
import type { BlobStat, Partial } from './partial.ts'
import { UPLOAD_PREFIX } from './partials.ts'
import type { ByteRange, RangeStream } from './range-stream.ts'
import type { UploadTap } from './upload-tap.ts'
import type { Ownership } from './writer.ts'

/** A push session as its client sees it. */
export interface Upload {
  /** A UUID. */
  readonly id: string
  readonly repository: string
  /** Who began it, in whatever words the caller has for that; the session is nobody else's. */
  readonly owner: string
  /** Bytes taken so far; it grows while a body is being taken. */
  readonly offset: number
}

export interface AppendOptions {
  /** Where the client believes that the body starts. */
  readonly start?: number
  /** The length that the client declared for the body. */
  readonly lengthBytes?: number
  /** Whether nobody looks at a chunk of the body again; they cost much less memory then. */
  readonly chunks?: Ownership
  /** Told of the length of each chunk before it is taken; what it throws ends the body. */
  readonly onChunk?: (bytes: number) => void
  /** Of the digest that is to come, where it is known by now; heeded before the first byte. */
  readonly algorithm?: Algorithm
  /** The digest itself, where it is known by now; nobody has compared it with anything. */
  readonly digest?: Digest
}

/**
 * A blob closed under another algorithm than it was hashed with as it came is read once more, at
 * 0.3 GB/s where it is no longer in memory. Clients give up 30 s after the last byte (containerd),
 * so there is a limit, at half that time.
 */
const MAX_REHASH_BYTES = 4 * 1024 * 1024 * 1024

export interface UploadSessionOptions {
  readonly id: string
  readonly repository: string
  readonly owner: string
  /** What the bytes are hashed with as they come. */
  readonly algorithm: Algorithm
  /** Bytes that the file has from before. */
  readonly offset: number
  /** The most that is read again to be hashed another way; 4 GiB by default. */
  readonly maxRehashBytes: number | undefined
  readonly blobs: Blobs
  readonly tap: UploadTap
  readonly clock: Clock
}

type State = 'idle' | 'busy' | 'ended'

/** One upload: lets a single writer at a time at the partial file behind it. */
export class UploadSession implements Upload {
  readonly id: string
  readonly repository: string
  readonly owner: string
  readonly #options: UploadSessionOptions
  #algorithm: Algorithm
  /** Opened by the first use, so that sessions left from before cost no reading at start. */
  #partial: Partial | undefined
  /** Where the body under way will end, if its client said so. */
  #declaredBytes: number | undefined
  /** What the client says that it will be. */
  #declared: Digest | undefined
  #state: State = 'idle'
  /** Whether its client waits for us, and not we for it. */
  #isClientWaiting = false
  #touchedAtMs: number

  constructor(options: UploadSessionOptions) {
    this.id = options.id
    this.repository = options.repository
    this.owner = options.owner
    this.#options = options
    this.#algorithm = options.algorithm
    this.#touchedAtMs = options.clock.monotonic()
  }

  get offset(): number {
    return this.#partial?.offset ?? this.#options.offset
  }

  /** How long its client has sent nothing, in milliseconds; 0 while it waits for our answer. */
  get idleMs(): number {
    return this.#isClientWaiting ? 0 : this.#options.clock.monotonic() - this.#touchedAtMs
  }

  /** See `Uploads.append`. */
  append(body: AsyncIterable<Uint8Array>, options: AppendOptions): Promise<number> {
    return this.#exclusively(async () => {
      const { start, algorithm } = options
      if (start !== undefined && start !== this.offset) {
        throw new StarlingError('RANGE_INVALID', `the upload goes on at byte ${this.offset}`, {
          detail: this.offset
        })
      }
      if (this.#partial === undefined && this.offset === 0)
        this.#algorithm = algorithm ?? this.#algorithm
      const { lengthBytes } = options
      this.#declaredBytes = lengthBytes === undefined ? undefined : this.offset + lengthBytes
      this.#declared = options.digest
      await this.#take(await this.#open(), body, options)
      return this.offset
    })
  }

  /** See `Uploads.finish`. */
  commit(digest: Digest): Promise<BlobStat> {
    return this.#exclusively(async () => {
      const algorithm = algorithmOf(digest)
      const { maxRehashBytes = MAX_REHASH_BYTES } = this.#options
      if (algorithm !== this.#algorithm && this.offset > maxRehashBytes) {
        throw new StarlingError(
          'DIGEST_INVALID',
          `a blob of more than ${maxRehashBytes} bytes is closed under ${algorithm} only when its upload was begun with digest-algorithm=${algorithm}`
        )
      }
      const partial = await this.#open()
      return partial.commit(digest)
    })
  }

  /** Bytes that have come in; see `Uploads.read`. */
  read(range: ByteRange): RangeStream {
    if (this.#partial === undefined) throw this.#unknown()
    return this.#partial.read(range)
  }

  /** Ends the session, whatever it is doing, and removes its bytes. */
  async discard(): Promise<void> {
    this.#state = 'ended'
    await this.#partial?.discard()
  }

  /** Stops, and keeps the bytes for the next start. */
  async close(): Promise<void> {
    this.#state = 'ended'
    await this.#partial?.close()
  }

  async #exclusively<Result>(task: () => Promise<Result>): Promise<Result> {
    if (this.#state === 'ended') throw this.#unknown()
    if (this.#state === 'busy') {
      throw new StarlingError('BLOB_UPLOAD_INVALID', 'another request is writing to this upload')
    }
    this.#state = 'busy'
    this.#isClientWaiting = true
    try {
      return await task()
    } catch (error) {
      // A file that was closed under the writer was cancelled, or expired.
      throw isCode(error, 'CLOSED') ? this.#unknown() : error
    } finally {
      if (this.#state === 'busy') this.#state = 'idle'
      this.#awaitClient()
    }
  }

  async #open(): Promise<Partial> {
    if (this.#partial === undefined) {
      const name = `${UPLOAD_PREFIX}${this.id}`
      this.#partial = await this.#options.blobs.partial(name, this.#algorithm)
      this.#partial.onGrown(writtenBytes => this.#grown(writtenBytes))
    }
    // The session may have ended while the file was being read.
    if (this.#state === 'ended') {
      await this.#partial.discard()
      throw this.#unknown()
    }
    return this.#partial
  }

  async #take(
    partial: Partial,
    body: AsyncIterable<Uint8Array>,
    { lengthBytes, chunks, onChunk }: AppendOptions
  ): Promise<void> {
    let left = lengthBytes ?? Number.POSITIVE_INFINITY
    this.#awaitClient()
    try {
      for await (const chunk of body) {
        this.#isClientWaiting = true
        // Its length is gone with it when it is given away.
        const { length } = chunk
        onChunk?.(length)
        await partial.append(length > left ? chunk.subarray(0, left) : chunk, chunks)
        left -= length
        if (left < 0) throw wrongLength('longer', lengthBytes)
        const paced = this.#options.tap.pace(this)
        if (paced !== undefined) await paced
        this.#awaitClient()
      }
    } finally {
      this.#isClientWaiting = true
      // What is answered for, or found by a later question, must survive a kill.
      await partial.flush()
    }
    if (left > 0 && lengthBytes !== undefined) throw wrongLength('shorter', lengthBytes)
  }

  #grown(writtenBytes: number): void {
    const declaredBytes = this.#declaredBytes
    const growth = {
      writtenBytes,
      ...(declaredBytes !== undefined && { declaredBytes }),
      ...(this.#declared !== undefined && { declared: this.#declared })
    }
    this.#options.tap.tellGrown(this, growth)
  }

  #awaitClient(): void {
    this.#isClientWaiting = false
    this.#touchedAtMs = this.#options.clock.monotonic()
  }

  #unknown(): StarlingError {
    return new StarlingError('BLOB_UPLOAD_UNKNOWN', 'there is no such upload', { detail: this.id })
  }
}

function wrongLength(how: 'longer' | 'shorter', lengthBytes: number | undefined): StarlingError {
  return new StarlingError(
    'SIZE_INVALID',
    `the body is ${how} than the ${lengthBytes} bytes declared`
  )
}
