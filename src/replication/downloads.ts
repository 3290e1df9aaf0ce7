import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Urgency } from '../swarm/schedule/messages.ts'
import { Download, type DownloadOptions } from './download.ts'

/** Blobs on their way here, each fetched once however many wait for it. */
export class Downloads {
  readonly #options: DownloadOptions
  readonly #running = new Map<Digest, Download>()
  readonly #closing = new AbortController()

  constructor(options: DownloadOptions) {
    this.#options = options
  }

  running(): Download[] {
    return [...this.#running.values()]
  }

  get(digest: Digest): Download | undefined {
    return this.#running.get(digest)
  }

  /** Begins to fetch a blob, or joins who does already. */
  start(digest: Digest, urgency: Urgency = 'background'): Download {
    const running = this.#running.get(digest)
    running?.urge(urgency)
    if (running !== undefined) return running
    const started = new Download(digest, urgency, this.#options, this.#closing.signal)
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
