import type { Readable } from 'node:stream'
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

export interface WholeDownloadOptions {
  readonly blobs: Blobs
  readonly fetcher: Fetcher
  readonly locator: Pick<Locator, 'candidates'>
  readonly holders: Holders
  readonly sightings: Sightings
  readonly onReceived: (bytes: number) => void
  readonly log: Log
}

/**
 * Fetches a blob as a whole, from one holder after the other: what is small comes so, and whatever
 * the neighbours cannot give in pieces.
 */
export class WholeDownload {
  readonly digest: Digest
  readonly #options: WholeDownloadOptions
  readonly #signal: AbortSignal
  readonly #onOpened: (sizeBytes: number) => void
  #partial: Partial | undefined
  #from: string[] = []
  /** Whether somebody who may have the blob was not asked, being put aside for an earlier failure. */
  #skipped = false

  /** @param onOpened called once a holder has said the size */
  constructor(
    digest: Digest,
    options: WholeDownloadOptions,
    signal: AbortSignal,
    onOpened: (sizeBytes: number) => void
  ) {
    this.digest = digest
    this.#options = options
    this.#signal = signal
    this.#onOpened = onOpened
  }

  get doneBytes(): number {
    return this.#partial?.offset ?? 0
  }

  /** Names of the nodes it has come from so far. */
  get from(): readonly string[] {
    return this.#from
  }

  /** A stream that grows as the blob arrives; `undefined` while nothing does. */
  follow(sizeBytes: number, range?: ByteRange): Readable | undefined {
    try {
      return this.#partial?.follow({ sizeBytes, ...range })
    } catch (cause) {
      // What came was dropped, since it was not the blob; for the reader that is no error of its own.
      throw new StarlingError('PEER_FAILED', `${this.digest} has to be fetched anew`, { cause })
    }
  }

  /** Settles with the size once the blob is held; throws as `Download.done`. */
  async run(): Promise<number> {
    const { blobs, onReceived } = this.#options
    const { digest } = this
    this.#partial = await blobs.partial(partialName(digest), algorithmOf(digest), this.#signal)
    try {
      // The size that a manifest gives is not passed on: a client may have pushed a wrong one, and
      // every honest holder would be put aside as a liar. The digest is what counts.
      const report = await download({
        digest,
        sink: this.#sink(),
        fetcher: this.#watched(),
        nextHolder: excluded => this.#nextHolder(excluded),
        signal: this.#signal,
        onOutcome: outcome => this.#heed(outcome),
        onHolder: ({ name }) => this.#cameFrom(name),
        onReceived
      })
      if (report.kind === 'unfinished') throw this.#failure(report)
      return report.sizeBytes
    } finally {
      await this.#partial.close()
    }
  }

  #nextHolder(excluded: ReadonlySet<string>): Holder | undefined {
    const { locator, holders } = this.#options
    const candidates = locator.candidates(this.digest)
    const holder = holders.nextRanked(candidates, excluded)
    if (holder !== undefined) return holder
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
      open: async (holder, digest, start, signal, options) => {
        const fetched = await fetcher.open(holder, digest, start, signal, options)
        this.#onOpened(fetched.sizeBytes)
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
