import type { Digest } from '../digest.ts'
import type { Log } from '../log.ts'
import type { Records } from '../records/records.ts'
import type { Inventory } from './inventory.ts'
import type { Leases } from './leases.ts'
import type { Pins } from './pins.ts'

export interface KeeperOptions {
  readonly records: Records
  readonly inventory: Inventory
  readonly leases: Leases
  readonly pins: Pins
  readonly log: Log
}

/**
 * Keeps blobs for pushes under way: what a pusher was told is here must be there still when its
 * manifest comes (design section 5, "Collection"). A pin lasts as long as a request, and a lease,
 * which every node hears of, for the time between requests.
 */
export class Keeper {
  readonly #options: KeeperOptions

  constructor(options: KeeperOptions) {
    this.#options = options
  }

  /** Nothing of these is collected here until the task has ended. */
  pinned<Result>(digests: readonly Digest[], task: () => Promise<Result>): Promise<Result> {
    return this.#options.pins.during(digests, task)
  }

  /** Settles when the lease would survive a power cut. A lease of a moment ago will do. */
  async lease(repository: string, digest: Digest, sizeBytes: number): Promise<void> {
    const { records, inventory, leases } = this.#options
    if (leases.isFresh({ repository, digest })) return
    const { ttlMs } = leases
    await records.write([{ kind: 'lease', repository, digest, sizeBytes, ttlMs }])
    await inventory.settled()
  }

  /** As {@link lease}; false when it cannot be written, which is no reason to fail a question. */
  async tryLease(repository: string, digest: Digest, sizeBytes: number): Promise<boolean> {
    try {
      await this.lease(repository, digest, sizeBytes)
      return true
    } catch (error) {
      this.#options.log.warn({ repository, digest, err: error }, 'lease not written')
      return false
    }
  }
}
