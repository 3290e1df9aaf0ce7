import type { Clock, Random } from '../clock.ts'
import type { Digest } from '../digest.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Metrics } from '../metrics.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import { BATCHED_BLOB_BYTES } from '../swarm/batch.ts'
import type { BatchFetcher, Fetcher } from '../swarm/fetcher.ts'
import { Holders } from '../swarm/holders.ts'
import { SMALL_BLOB_BYTES } from '../swarm/piece-size.ts'
import { Announcer } from './announcer.ts'
import { Batches } from './batches.ts'
import type { DiskWatch } from './disk-space.ts'
import { Downloads } from './downloads.ts'
import { Intake } from './intake.ts'
import type { Inventory } from './inventory.ts'
import { Locator } from './locator.ts'
import { Passage } from './passage.ts'
import { Replicator } from './replicator.ts'
import { Sightings } from './sightings.ts'
import type { Swarming } from './swarming.ts'

export interface SupplyOptions {
  readonly inventory: Inventory
  readonly swarming: Swarming
  readonly blobs: Blobs
  readonly records: Records
  readonly mesh: Mesh
  readonly fetcher: Fetcher & BatchFetcher
  readonly disk: DiskWatch
  readonly metrics: Metrics
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** How blobs come to this node: who has them, what is fetched, and for whom it only passes through. */
export class Supply {
  readonly locator: Locator
  readonly downloads: Downloads
  /** Downloads as far as there is room for them. */
  readonly intake: Intake
  /** Blobs on their way through, which stay elsewhere. */
  readonly passage: Passage
  readonly replicator: Replicator
  readonly #announcer: Announcer
  readonly #batches: Batches

  constructor(options: SupplyOptions) {
    const { inventory, swarming, blobs, records, mesh, fetcher, disk, metrics } = options
    const { clock, random, log } = options
    const sightings = new Sightings()
    const holders = new Holders({ clock, random })
    const received = metrics.bytesReceived.labels('transfer')
    const { graph } = inventory
    this.locator = new Locator({ mesh, blobs, sightings })
    const asked = { fetcher, holders, sightings, log, locator: this.locator }
    const onReceived = (bytes: number) => {
      received.inc(bytes)
      disk.wrote(bytes)
    }
    const hasAtMost = (digest: Digest, bytes: number) =>
      graph.manifestType(digest) !== undefined ||
      (graph.sizeBytes(digest) ?? Number.POSITIVE_INFINITY) <= bytes
    const isSmall = (digest: Digest) => hasAtMost(digest, SMALL_BLOB_BYTES)
    const isTiny = (digest: Digest) => hasAtMost(digest, BATCHED_BLOB_BYTES)
    const batches = new Batches({ ...asked, blobs, clock, onReceived })
    this.#batches = batches
    this.downloads = new Downloads({
      ...{ ...asked, blobs, clock, swarm: swarming.driver },
      ...{ batches, isTiny, isSmall, onReceived }
    })
    this.passage = new Passage({ ...asked, onReceived: bytes => received.inc(bytes) })
    this.intake = new Intake({ downloads: this.downloads, graph, disk })
    this.replicator = new Replicator({
      ...{ inventory, clock, random, log },
      downloads: this.intake,
      isSmall: isTiny,
      hasRoom: () => disk.space().state === 'ok',
      fits: digest => this.intake.fits(digest),
      onReplicated: seconds => metrics.replicationSeconds.observe(seconds)
    })
    this.#announcer = new Announcer({
      ...{ mesh, records, blobs, sightings, log },
      onSighted: digest => this.replicator.poke(digest)
    })
    mesh.on('connected', peer => {
      // A process that came anew, or came back, may give what it could not before.
      holders.forgive(peer)
      batches.met(peer)
      this.replicator.poke()
    })
  }

  async close(): Promise<void> {
    this.replicator.close()
    await this.#batches.close()
    await this.downloads.close()
    await this.#announcer.close()
  }
}
