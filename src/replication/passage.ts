import type { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { ByteRange } from '../store/range-stream.ts'
import { download, type Outcome } from '../swarm/download.ts'
import type { Fetcher, Holder } from '../swarm/fetcher.ts'
import type { Holders } from '../swarm/holders.ts'
import type { Locator } from './locator.ts'
import { PassingStream } from './passing-stream.ts'
import type { Sightings } from './sightings.ts'

export interface PassageOptions {
  readonly fetcher: Fetcher
  readonly locator: Pick<Locator, 'candidates'>
  readonly holders: Holders
  readonly sightings: Sightings
  readonly onReceived: (bytes: number) => void
  readonly log: Log
}

/** What a node passes on and has no room to keep: bytes go from a peer to a client, through memory. */
export class Passage {
  readonly #options: PassageOptions

  constructor(options: PassageOptions) {
    this.#options = options
  }

  /**
   * Opens a blob of a known size, or a part of it. Settles once bytes can flow.
   *
   * The last MiB of the blob is given only when all of it has been verified, as with a blob that is
   * being stored, so that nobody takes wrong bytes for a whole blob. A range that ends before it is
   * given as it comes; for any other the blob is fetched from its first byte.
   *
   * @throws `BLOB_UNKNOWN` when every node asked has it not, `PEER_FAILED` when none could give it
   */
  async open(digest: Digest, sizeBytes: number, range?: ByteRange): Promise<Readable> {
    const within = range ?? { start: 0, end: sizeBytes }
    const stream = new PassingStream(digest, sizeBytes, within)
    const run = this.#run(digest, sizeBytes, stream)
    run.catch((error: Error) => stream.destroy(error))
    // A stream that nobody listens to yet must not end the process with its error.
    stream.on('error', () => undefined)
    await Promise.race([stream.flowing, run])
    return stream
  }

  async #run(digest: Digest, sizeBytes: number, stream: PassingStream): Promise<void> {
    const { fetcher, onReceived } = this.#options
    const skipped = { some: false }
    try {
      const report = await download({
        ...{ digest, sizeBytes, sink: stream.sink, fetcher, signal: stream.signal, onReceived },
        nextHolder: excluded => this.#nextHolder(digest, excluded, skipped),
        onOutcome: outcome => this.#heed(digest, outcome)
      })
      if (report.kind === 'done') return
      const isUnknown =
        !skipped.some && report.outcomes.every(({ outcome }) => outcome === 'unknown')
      const code = isUnknown ? 'BLOB_UNKNOWN' : 'PEER_FAILED'
      throw new StarlingError(code, `no reachable node gave ${digest}`, { detail: digest })
    } catch (error) {
      if (!stream.isSatisfied) throw error
    }
  }

  #nextHolder(
    digest: Digest,
    excluded: ReadonlySet<string>,
    skipped: { some: boolean }
  ): Holder | undefined {
    const { locator, holders } = this.#options
    const candidates = locator.candidates(digest)
    const holder = holders.nextRanked(candidates, excluded)
    if (holder !== undefined) return holder
    skipped.some = candidates.flat().some(({ id }) => !excluded.has(id))
    return undefined
  }

  #heed(digest: Digest, { holder, outcome, bytes, error }: Outcome): void {
    const { sightings, holders, log } = this.#options
    holders.report({ holder, outcome, bytes })
    if (outcome === 'done') return
    sightings.remove(holder.id, digest)
    if (outcome === 'unknown') return
    log.warn({ digest, peer: holder.id, outcome, bytes, err: error }, 'holder gave up')
  }
}
