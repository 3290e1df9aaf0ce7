import type { Digest } from '../digest.ts'
import type { Downloads } from './downloads.ts'
import type { Inventory } from './inventory.ts'

/** Blobs fetched out of turn at once: as many again as those that are fetched in turn. */
const MAX_PARALLEL = 6

export interface AwaitedOptions {
  readonly inventory: Pick<Inventory, 'graph' | 'missing' | 'settled'>
  readonly downloads: Pick<Downloads, 'start'>
  /** Whether the disk takes a copy of the blob now. */
  readonly fits: (digest: Digest) => boolean
}

/**
 * Fetches first what another node waits for this one to hold: the image of a push that is about to
 * be answered, or one that has fewer copies than it was to have.
 */
export class Awaited {
  readonly #options: AwaitedOptions
  readonly #running = new Set<Digest>()

  constructor(options: AwaitedOptions) {
    this.#options = options
  }

  /** Fetches what is missing of an image, as far as it is known, and goes on as more becomes known. */
  fetch(manifest: Digest, signal: AbortSignal): void {
    const { inventory, fits } = this.#options
    if (signal.aborted) return
    const missing = inventory.missing()
    for (const digest of inventory.graph.reach(manifest)) {
      if (this.#running.size >= MAX_PARALLEL) return
      if (missing.has(digest) && !this.#running.has(digest) && fits(digest)) {
        void this.#fetch(digest).then(isHeld => {
          if (isHeld) this.fetch(manifest, signal)
        })
      }
    }
  }

  /** Never rejects: what fails is tried again in its turn. */
  async #fetch(digest: Digest): Promise<boolean> {
    const { inventory, downloads } = this.#options
    this.#running.add(digest)
    try {
      await downloads.start(digest, 'repair').done
      await inventory.settled()
      return true
    } catch {
      return false
    } finally {
      this.#running.delete(digest)
    }
  }
}
