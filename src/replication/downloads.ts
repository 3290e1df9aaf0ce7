import type { Readable } from 'node:stream'
import type { Clock } from '../clock.ts'
import { algorithmOf, type Digest, hexOf } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Partial } from '../store/partial.ts'
import type { ByteRange } from '../store/range-stream.ts'
import { type DownloadReport, download, type Outcome, type Sink } from '../swarm/download.ts'
import type { Fetcher, Holder } from '../swarm/fetcher.ts'
import type { Holders } from '../swarm/holders.ts'
import type { Locator } from './locator.ts'
import type { Sightings } from './sightings.ts'

export interface DownloadsOptions {
  readonly blobs: Blobs
  readonly fetcher: Fetcher
  readonly locator: Pick<Locator, 'candidates'>
  readonly holders: Holders
  readonly sightings: Sightings
  readonly onReceived: (bytes: number) => void
  readonly clock: Clock
  readonly log: Log
}

/** Blobs on their way here, each fetched once however many wait for it. */
export class Downloads {
  readonly #options: DownloadsOptions
  readonly #running = new Map<Digest, Download>()
  readonly #closing = new AbortController()

  constructor(options: DownloadsOptions) {
    this.#options = options
  }

  running(): Download[] {
    return [...this.#running.values()]
  }

  get(digest: Digest): Download | undefined {
    return this.#running.get(digest)
  }

  /** Begins to fetch a blob, or joins who does already. */
  start(digest: Digest): Download {
    const running = this.#running.get(digest)
    if (running !== undefined) return running
    const started = new Download(digest, this.#options, this.#closing.signal)
    this.#running.set(digest, started)
    const end = () => this.#running.delete(digest)
    started.done.then(end, end)
    return started
  }

  /** Ends every download; what has come in is kept for the next start. */
  async close(): Promise<void> {
    this.#closing.abort(new StarlingError('CLOSED', 'the node is stopping'))
    await Promise.allSettled(this.running().map(({ done }) => done))
  }
}

/** One blob on its way here. */
export class Download {
  readonly digest: Digest
  /** Resolves with the size once a holder has answered; rejects as `done` does. */
  readonly opened: Promise<{ readonly sizeBytes: number }>
  /**
   * Resolves once the blob is held. Rejects with `BLOB_UNKNOWN` when every node asked has it not,
   * `PEER_FAILED` when none could give it, `DISK_FULL`, `DISK_FAILED` or `CLOSED`.
   */
  readonly done: Promise<void>
  readonly #options: DownloadsOptions
  readonly #signal: AbortSignal
  readonly #open = Promise.withResolvers<{ readonly sizeBytes: number }>()
  #partial: Partial | undefined
  #sizeBytes: number | undefined
  #from: string[] = []
  /** Whether somebody who may have the blob was not asked, being put aside for an earlier failure. */
  #skipped = false

  constructor(digest: Digest, options: DownloadsOptions, signal: AbortSignal) {
    this.digest = digest
    this.#options = options
    this.#signal = signal
    this.opened = this.#open.promise
    this.done = this.#run()
    this.done.catch(error => this.#open.reject(error))
    // Whoever cares awaits them; a background fetch that nobody awaits must not end the process.
    this.opened.catch(() => undefined)
  }

  get sizeBytes(): number | undefined {
    return this.#sizeBytes
  }

  get doneBytes(): number {
    return this.#partial?.offset ?? 0
  }

  /** Names of the nodes it has come from so far. */
  get from(): readonly string[] {
    return this.#from
  }

  /**
   * A stream of the blob that grows as it arrives; see `Partial.follow`. Throws `PEER_FAILED` when
   * what has come so far turned out to be wrong, and as `done` does.
   */
  async follow(sizeBytes: number, range?: ByteRange): Promise<Readable> {
    if (this.#partial === undefined) await this.done
    const { blobs } = this.#options
    if (blobs.stat(this.digest) !== undefined) return blobs.read(this.digest, range)
    try {
      if (this.#partial !== undefined) return this.#partial.follow({ sizeBytes, ...range })
    } catch (cause) {
      // What came was dropped, since it was not the blob; for the reader that is no error of its own.
      throw new StarlingError('PEER_FAILED', `${this.digest} has to be fetched anew`, { cause })
    }
    throw new StarlingError('BLOB_UNKNOWN', `${this.digest} is not on its way`)
  }

  async #run(): Promise<void> {
    const { blobs, onReceived, clock, log } = this.#options
    const started = clock.monotonic()
    this.#partial = await blobs.partial(
      partialName(this.digest),
      algorithmOf(this.digest),
      this.#signal
    )
    try {
      // The size that a manifest gives is not passed on: a client may have pushed a wrong one, and
      // every honest holder would be put aside as a liar. The digest is what counts.
      const report = await download({
        digest: this.digest,
        sink: this.#sink(),
        fetcher: this.#watched(),
        nextHolder: excluded => this.#nextHolder(excluded),
        signal: this.#signal,
        onOutcome: outcome => this.#heed(outcome),
        onHolder: ({ name }) => this.#cameFrom(name),
        onReceived
      })
      if (report.kind === 'unfinished') throw this.#failure(report)
      const ms = Math.round(clock.monotonic() - started)
      log.info(
        { digest: this.digest, bytes: report.sizeBytes, ms, from: this.#from },
        'blob fetched'
      )
    } finally {
      await this.#partial.close()
    }
  }

  /** Ranks are asked in turn, so that who is likely to have the blob comes before the rest. */
  #nextHolder(excluded: ReadonlySet<string>): Holder | undefined {
    const { locator, holders } = this.#options
    const candidates = locator.candidates(this.digest)
    for (const equals of candidates) {
      const holder = holders.next(equals, excluded)
      if (holder !== undefined) return holder
    }
    this.#skipped = candidates.flat().some(({ id }) => !excluded.has(id))
    return undefined
  }

  #sink(): Sink {
    const current = () => {
      if (this.#partial === undefined) throw new StarlingError('CLOSED', 'the download has ended')
      return this.#partial
    }
    return {
      get offset() {
        return current().offset
      },
      // A node that receives a GiB stays 30 to 45 MiB smaller for it: see `Writer`.
      append: chunk => current().append(chunk, 'given'),
      commit: async () => {
        await current().commit(this.digest)
      },
      reset: async () => {
        await current().discard()
        const name = partialName(this.digest)
        this.#partial = await this.#options.blobs.partial(
          name,
          algorithmOf(this.digest),
          this.#signal
        )
      }
    }
  }

  /** The fetcher, telling the size as soon as a holder has said it. */
  #watched(): Fetcher {
    const { fetcher } = this.#options
    return {
      open: async (holder, digest, start, signal) => {
        const fetched = await fetcher.open(holder, digest, start, signal)
        this.#sizeBytes ??= fetched.sizeBytes
        this.#open.resolve({ sizeBytes: fetched.sizeBytes })
        return fetched
      },
      close: () => fetcher.close()
    }
  }

  #cameFrom(name: string): void {
    if (!this.#from.includes(name)) this.#from = [...this.#from, name]
  }

  #heed({ holder, outcome, bytes, error }: Outcome): void {
    const { sightings, holders, log } = this.#options
    holders.report({ holder, outcome, bytes })
    if (outcome === 'done') return
    sightings.remove(holder.id, this.digest)
    if (outcome === 'unknown') return
    const fields = { digest: this.digest, peer: holder.id, name: holder.name, outcome, bytes }
    log.warn({ ...fields, err: error }, 'holder gave up')
  }

  #failure({ outcomes }: Extract<DownloadReport, { kind: 'unfinished' }>): StarlingError {
    const isUnknown = !this.#skipped && outcomes.every(({ outcome }) => outcome === 'unknown')
    const code = isUnknown ? 'BLOB_UNKNOWN' : 'PEER_FAILED'
    return new StarlingError(code, `no reachable node gave ${this.digest}`, { detail: this.digest })
  }
}

function partialName(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest)}`
}
