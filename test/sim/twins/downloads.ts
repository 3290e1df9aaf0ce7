import { Readable } from 'node:stream'
import type { Digest } from '../../../src/digest.ts'
import { isCode, StarlingError } from '../../../src/errors.ts'
import type { Download } from '../../../src/replication/download.ts'
import type { Locator } from '../../../src/replication/locator.ts'
import type { Sightings } from '../../../src/replication/sightings.ts'
import type { Face, SimBlobs } from './blobs.ts'

/** Asks one holder for the whole of a blob; throws `BLOB_UNKNOWN` or `PEER_FAILED`. */
export type Fetch = (holder: string, digest: Digest) => Promise<Buffer>

type SimDownload = Face<Download>

/**
 * What stands in for the blob plane, down from the question whom to ask: whole blobs, from one
 * holder after the other, verified before they are stored.
 */
export class SimDownloads {
  readonly #running = new Map<Digest, SimDownload>()
  readonly #options: {
    readonly blobs: SimBlobs
    readonly locator: Pick<Locator, 'candidates'>
    readonly sightings: Sightings
    readonly fetch: Fetch
  }

  constructor(options: {
    readonly blobs: SimBlobs
    readonly locator: Pick<Locator, 'candidates'>
    readonly sightings: Sightings
    readonly fetch: Fetch
  }) {
    this.#options = options
  }

  get(digest: Digest): SimDownload | undefined {
    return this.#running.get(digest)
  }

  start(digest: Digest): SimDownload {
    const running = this.#running.get(digest)
    if (running !== undefined) return running
    const { blobs } = this.#options
    const done = this.#run(digest)
    const opened = done.then(() => blobs.stat(digest) ?? { sizeBytes: 0 })
    opened.catch(() => undefined)
    const started = {
      ...{ digest, done, opened, sizeBytes: undefined, doneBytes: 0, from: [] },
      // Each comes by itself here, and as soon as it can.
      hurry: () => undefined,
      urge: () => undefined,
      follow: async () => Readable.from([await done.then(() => blobs.bytes(digest))])
    }
    this.#running.set(digest, started)
    const end = () => this.#running.delete(digest)
    done.then(end, end)
    return started
  }

  async #run(digest: Digest): Promise<void> {
    const { blobs, locator, sightings, fetch } = this.#options
    const asked = new Set<string>()
    let failed: unknown
    for (;;) {
      if (blobs.stat(digest) !== undefined) return
      const next = locator
        .candidates(digest)
        .flat()
        .find(({ id }) => !asked.has(id))
      if (next === undefined) break
      asked.add(next.id)
      try {
        await blobs.put(await fetch(next.id, digest), digest)
        return
      } catch (error) {
        if (isCode(error, 'DISK_FAILED')) throw error
        sightings.remove(next.id, digest)
        if (!isCode(error, 'BLOB_UNKNOWN')) failed = error
      }
    }
    const code = failed === undefined ? 'BLOB_UNKNOWN' : 'PEER_FAILED'
    throw new StarlingError(code, `no reachable node gave ${digest}`, { cause: failed })
  }
}
