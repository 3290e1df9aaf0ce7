import type { Clock } from '../../src/clock.ts'
import type { Digest } from '../../src/digest.ts'
import type { Log } from '../../src/log.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import type { Metrics } from '../../src/metrics.ts'
import { Records } from '../../src/records/records.ts'
import { Acknowledgement } from '../../src/replication/acknowledgement.ts'
import { Announcer } from '../../src/replication/announcer.ts'
import { Awaited } from '../../src/replication/awaited.ts'
import { Cluster } from '../../src/replication/cluster.ts'
import { Collector, MAX_LOOK_INTERVAL_MS } from '../../src/replication/collector.ts'
import { Confirmations } from '../../src/replication/confirmations.ts'
import { ReplicatedContent } from '../../src/replication/content.ts'
import { Copies } from '../../src/replication/copies.ts'
import { DiskWatch } from '../../src/replication/disk-space.ts'
import type { Downloads } from '../../src/replication/downloads.ts'
import { Expected } from '../../src/replication/expected.ts'
import { Hold } from '../../src/replication/hold.ts'
import { Intake } from '../../src/replication/intake.ts'
import { Inventory } from '../../src/replication/inventory.ts'
import { Keeper } from '../../src/replication/keeper.ts'
import { Leases } from '../../src/replication/leases.ts'
import { Locator } from '../../src/replication/locator.ts'
import { MemberRecords } from '../../src/replication/member-records.ts'
import { Owed } from '../../src/replication/owed.ts'
import { Passage } from '../../src/replication/passage.ts'
import { Pins } from '../../src/replication/pins.ts'
import { Repair } from '../../src/replication/repair.ts'
import { Replicator } from '../../src/replication/replicator.ts'
import { Room } from '../../src/replication/room.ts'
import { Roots } from '../../src/replication/roots.ts'
import { RunningTime } from '../../src/replication/running-time.ts'
import { Sightings } from '../../src/replication/sightings.ts'
import { Synchroniser } from '../../src/replication/synchroniser.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import type { Uploads } from '../../src/store/uploads.ts'
import { Holders } from '../../src/swarm/holders.ts'
import { PLANTS, type Plant } from './bugs.ts'
import { EPOCH_MS, type Host, type World } from './machine/world.ts'
import type { Settings } from './settings.ts'
import { BlobPlane } from './twins/blob-plane.ts'
import { SimBlobs } from './twins/blobs.ts'
import { SimDownloads } from './twins/downloads.ts'
import { SimMesh } from './twins/mesh.ts'
import type { Network } from './twins/network.ts'
import { SimUploads } from './twins/uploads.ts'

export interface NodeOptions {
  readonly world: World
  readonly host: Host
  readonly network: Network
  readonly settings: Settings
  /** New on a new disk. */
  readonly id: string
  readonly boot: string
  readonly join: readonly string[]
  readonly resolve: () => Promise<readonly string[]>
  readonly log: Log
  /** A bug to be planted. */
  readonly plant: Plant | undefined
}

const DATA = '/data'

/**
 * One process of the simulated cluster: the records, reconciliation, acknowledgement, deletion and
 * collection of `src` as they are, joined as `replication.ts` joins them, over simulated parts.
 */
export class SimNode {
  readonly host: Host
  readonly mesh: SimMesh
  readonly records: Records
  readonly blobs: SimBlobs
  readonly inventory: Inventory
  readonly cluster: Cluster
  readonly collector: Collector
  readonly content: ReplicatedContent
  readonly members: MemberRecords
  /** Takes back what a planted bug did outside of this node. */
  readonly uproot: (() => void) | undefined
  readonly #disk: DiskWatch
  readonly #starters: (() => void | Promise<void>)[]

  /** To be called on the host itself. */
  static async open(options: NodeOptions): Promise<SimNode> {
    const { world, host, settings, log, id } = options
    const clock = clockOf(world, host)
    const blobs = new SimBlobs(host.disk)
    const records = await Records.open({
      ...{ dataDir: DATA, origin: id, clock, log, disk: host.disk },
      ...{ segmentBytes: settings.segmentBytes, compactSlackBytes: settings.segmentBytes }
    })
    const time = new RunningTime(clock, 2 * MAX_LOOK_INTERVAL_MS)
    const leases = await Leases.open({
      ...{ records, random: world.random, ttlMs: settings.leaseMs },
      nowMs: () => time.ms()
    })
    const stored = { blobs: blobs as unknown as Blobs, records }
    const inventory = await Inventory.open({ ...stored, clock, log })
    const disk = await DiskWatch.open({ dataDir: DATA, maxUsedShare: 0.75, log })
    const owed = await Owed.open({ dataDir: DATA, log })
    return new SimNode(options, { clock, blobs, records, time, leases, inventory, disk, owed })
  }

  private constructor(
    options: NodeOptions,
    parts: {
      clock: Clock
      blobs: SimBlobs
      records: Records
      time: RunningTime
      leases: Leases
      inventory: Inventory
      disk: DiskWatch
      owed: Owed
    }
  ) {
    const { world, host, settings, log } = options
    const { clock, records, time, leases, inventory } = parts
    const { random } = world
    this.host = host
    this.#disk = parts.disk
    this.records = records
    this.blobs = parts.blobs
    this.inventory = inventory
    this.mesh = new SimMesh({
      ...{ ...options, ...settings, clock, random },
      vitals: () => this.#vitals()
    })
    const blobs = this.blobs as unknown as Blobs
    const mesh = this.mesh as unknown as Mesh
    const blobPlane = new BlobPlane({ world, host, settings, mesh: this.mesh, blobs: this.blobs })
    const sightings = new Sightings()
    const locator = new Locator({ mesh, blobs, sightings })
    const simDownloads = new SimDownloads({
      ...{ blobs: this.blobs, locator, sightings },
      fetch: (holder, digest) => blobPlane.fetch(holder, digest)
    })
    const downloads = simDownloads as unknown as Downloads
    const { disk, owed } = parts
    const intake = new Intake({ downloads, graph: inventory.graph, disk })
    const fits = (digest: Digest) => intake.fits(digest)
    const replicator = new Replicator({
      isSmall: () => false,
      ...{ inventory, downloads: intake, fits, clock, random, log },
      hasRoom: () => disk.space().state === 'ok',
      onReplicated: () => undefined
    })
    const roots = new Roots(records)
    const synchroniser = new Synchroniser({ mesh, records, roots, random, clock, log })
    new Announcer({
      ...{ mesh, records, blobs, sightings, log },
      onSighted: digest => replicator.poke(digest)
    })
    this.cluster = new Cluster({
      ...{ mesh, records, inventory, locator, clock, log, roots, synchroniser },
      cannotGet: digest => disk.space().state !== 'ok' || replicator.hasFailed(digest),
      deadAfterMs: settings.deadAfterMs,
      aloneAfterMs: settings.aloneAfterMs
    })
    const { cluster } = this
    const awaited = new Awaited({ inventory, downloads: intake, fits })
    const question = new Hold({
      ...{ mesh, inventory },
      onAwaited: (manifest, signal) => awaited.fetch(manifest, signal)
    })
    const has = (digest: Digest) => blobs.stat(digest) !== undefined || intake.fits(digest)
    const acknowledgement = new Acknowledgement({
      ...{ mesh, records, inventory, question, owed, clock, log },
      ...{ copies: settings.copies, hold: 'all' as const },
      ackWaitMs: settings.ackWaitMs,
      deadAfterMs: settings.deadAfterMs,
      ackShort: 'accept',
      canHold: manifest => [...inventory.graph.reach(manifest)].every(has)
    })
    const wantedCopies = () => acknowledgement.wantedCopies()
    const repair = new Repair({
      ...{ owed, mesh, records, hold: question, wantedCopies, log },
      copies: new Copies({ mesh, inventory, roots })
    })
    const confirmations = new Confirmations({ mesh, records, roots, log })
    const planting = options.plant && PLANTS[options.plant]
    this.uproot = planting?.({ host, records, acknowledgement, cluster })
    const pins = new Pins()
    const uploads = new SimUploads(this.blobs) as unknown as Uploads
    const shared = { blobs, records, inventory, disk, downloads, uploads }
    this.collector = new Collector({
      ...{ ...shared, mesh, metrics: NO_METRICS, leases, pins, time, log },
      ...{ synchroniser, cluster, replicator },
      graceMs: settings.graceMs
    })
    this.content = new ReplicatedContent({
      ...{ ...shared, acknowledgement, cluster, intake, clock },
      room: new Room({ mesh, disk, wantedCopies }),
      expected: new Expected(clock),
      passage: new Passage({
        ...{ locator, sightings, log, onReceived: () => undefined },
        ...{ fetcher: blobPlane.fetcher(), holders: new Holders({ clock, random }) }
      }),
      keeper: new Keeper({ records, inventory, leases, pins, log })
    })
    this.members = new MemberRecords({ mesh, records, log })
    mesh.on('connected', () => replicator.poke())
    const { members, collector } = this
    const starts = [members, synchroniser, confirmations, replicator, cluster, collector, repair]
    this.#starters = [this.mesh, ...starts].map(part => () => part.start())
  }

  /** Begins to listen, to tell, to ask and to fetch; to be called on the host. */
  async start(): Promise<void> {
    for (const start of this.#starters) await start()
  }

  /** Whether its disk took nothing when it last looked. */
  get isFull(): boolean {
    return this.#disk.space().state !== 'ok'
  }

  #vitals() {
    const missing = this.inventory.missing()
    const { count, bytes } = this.blobs.totals()
    const { standing } = this.records.forgetting
    return {
      root: this.records.root().hash,
      position: this.records.sequence(),
      promised: standing.testimony.promised,
      confirmed: standing.testimony.confirmed,
      ready: this.cluster.readiness().ready,
      disk: this.#disk.space().state,
      freeBytes: this.#disk.freeBytes(),
      hold: 'all' as const,
      caughtUp: this.inventory.caughtUp().root,
      missing: [...missing.keys()],
      missingCount: missing.size,
      bytesHeld: bytes,
      blobsHeld: count
    }
  }
}

function clockOf(world: World, host: Host): Clock {
  return {
    now: () => EPOCH_MS + world.nowMs + host.skewMs,
    monotonic: () => world.nowMs - host.bootedAtMs
  }
}

const nothing = () => undefined
const NO_METRICS = {
  collectedBlobs: { inc: nothing },
  collectedBytes: { inc: nothing },
  collectionCandidates: { set: nothing }
} as unknown as Metrics
