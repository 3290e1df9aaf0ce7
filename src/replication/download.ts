import type { Readable } from 'node:stream'
import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import type { ByteRange } from '../store/range-stream.ts'
import type { Driver } from '../swarm/driver/driver.ts'
import type { Fetching } from '../swarm/driver/fetching.ts'
import { URGENCIES, type Urgency } from '../swarm/schedule/messages.ts'
import type { Batches } from './batches.ts'
import { WholeDownload, type WholeDownloadOptions } from './whole-download.ts'

export interface DownloadOptions extends WholeDownloadOptions {
  /** The neighbours, who exchange pieces; without them every blob comes as a whole. */
  readonly swarm?: Pick<Driver, 'fetch'>
  /** Whether a blob is known to be too small to be worth cutting. */
  readonly isSmall?: (digest: Digest) => boolean
  /** Whether it is so small that it comes with others. */
  readonly isTiny?: (digest: Digest) => boolean
  /** How tiny ones come with others; without it each comes by itself. */
  readonly batches?: Pick<Batches, 'fetch' | 'hurry'>
  readonly clock: Clock
}

/**
 * One blob on its way here: in pieces from the neighbours, or with others if it is tiny, and else as
 * a whole from any holder.
 */
export class Download {
  readonly digest: Digest
  /** Resolves with the size once it is known; rejects as `done` does. */
  readonly opened: Promise<{ readonly sizeBytes: number }>
  /**
   * Resolves once the blob is held. Rejects with `BLOB_UNKNOWN` when every node asked has it not,
   * `PEER_FAILED` when none could give it, `DISK_FULL`, `DISK_FAILED` or `CLOSED`.
   */
  readonly done: Promise<void>
  readonly #options: DownloadOptions
  #urgency: Urgency
  readonly #open = Promise.withResolvers<{ readonly sizeBytes: number }>()
  readonly #whole: WholeDownload
  readonly #isTiny: boolean
  #batchFrom: readonly string[] | undefined
  #fetching: Fetching | undefined
  #sizeBytes: number | undefined

  constructor(digest: Digest, urgency: Urgency, options: DownloadOptions, signal: AbortSignal) {
    this.digest = digest
    this.#urgency = urgency
    this.#options = options
    this.#isTiny = options.isTiny?.(digest) === true
    this.#whole = new WholeDownload(digest, options, signal, sizeBytes => this.#opened(sizeBytes))
    this.opened = this.#open.promise
    this.done = this.#run(signal)
    this.done.catch(error => this.#open.reject(error))
    // Whoever cares awaits them; a background fetch that nobody awaits must not end the process.
    this.opened.catch(() => undefined)
  }

  get sizeBytes(): number | undefined {
    return this.#sizeBytes
  }

  get doneBytes(): number {
    return this.#fetching?.doneBytes ?? this.#whole.doneBytes
  }

  /** Names of the nodes it has come from so far. */
  get from(): readonly string[] {
    return this.#batchFrom ?? this.#fetching?.from ?? this.#whole.from
  }

  /** It is at least so urgent from now on. */
  urge(urgency: Urgency): void {
    if (URGENCIES.indexOf(urgency) >= URGENCIES.indexOf(this.#urgency)) return
    this.#urgency = urgency
    this.#fetching?.urge(urgency)
  }

  /** A client waits for it, and not for others that would come with it. */
  hurry(): void {
    if (this.#isTiny) this.#options.batches?.hurry(this.digest)
  }

  /**
   * A stream of the blob that grows as it arrives, all but its last MiB before it is verified; its
   * pieces come in order from now on. Throws `PEER_FAILED` when what has come so far turned out to
   * be wrong, and as `done` does.
   */
  async follow(sizeBytes: number, range?: ByteRange): Promise<Readable> {
    const { blobs } = this.#options
    if (blobs.stat(this.digest) !== undefined) return blobs.read(this.digest, range)
    const growing = this.#growing(sizeBytes, range)
    if (growing !== undefined) return growing
    await this.done
    return blobs.read(this.digest, range)
  }

  #growing(sizeBytes: number, range: ByteRange | undefined): Readable | undefined {
    return this.#fetching?.follow({ sizeBytes, ...range }) ?? this.#whole.follow(sizeBytes, range)
  }

  async #run(signal: AbortSignal): Promise<void> {
    if (this.#isTiny ? await this.#inBatch() : await this.#inPieces(signal)) return
    signal.throwIfAborted()
    const { clock, log } = this.#options
    const started = clock.monotonic()
    const bytes = await this.#whole.run()
    const ms = Math.round(clock.monotonic() - started)
    log.info({ digest: this.digest, bytes, ms, from: this.from }, 'blob fetched')
  }

  /** Whether it came with others. Throws when this node could not keep it. */
  async #inBatch(): Promise<boolean> {
    const { batches, blobs } = this.#options
    const from = await batches?.fetch(this.digest)
    const stat = blobs.stat(this.digest)
    if (from === undefined || stat === undefined) return false
    this.#batchFrom = [from]
    this.#opened(stat.sizeBytes)
    return true
  }

  /** Whether the neighbours gave it. Throws when this node could not take it. */
  async #inPieces(signal: AbortSignal): Promise<boolean> {
    const { swarm, isSmall, log } = this.#options
    if (swarm === undefined || isSmall?.(this.digest)) return false
    const fetching = swarm.fetch(this.digest, this.#urgency)
    this.#fetching = fetching
    void fetching.opened.then(opened => opened && this.#opened(opened.sizeBytes))
    const ending = await fetching.ended
    signal.throwIfAborted()
    if (ending.kind === 'held') return true
    this.#fetching = undefined
    if (ending.kind === 'failed') {
      if (!isCode(ending.error, 'UNAVAILABLE')) throw ending.error
      log.debug({ digest: this.digest, err: ending.error }, 'pieces not taken')
    } else if (ending.why !== 'nobody') {
      log.info({ digest: this.digest, why: ending.why }, 'blob is fetched as a whole')
    }
    return this.#options.blobs.stat(this.digest) !== undefined
  }

  #opened(sizeBytes: number): void {
    this.#sizeBytes = sizeBytes
    this.#open.resolve({ sizeBytes })
  }
}
