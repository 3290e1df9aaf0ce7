import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Vitals } from '../mesh/beat.ts'
import type { PieceDesk } from '../swarm/piece-desk.ts'
import { Acknowledgement } from './acknowledgement.ts'
import { Awaited } from './awaited.ts'
import { Cluster } from './cluster.ts'
import {
  type Collection,
  type CollectionMode,
  Collector,
  MAX_LOOK_INTERVAL_MS
} from './collector.ts'
import { Confirmations } from './confirmations.ts'
import { watchConflicts } from './conflicts.ts'
import { ReplicatedContent } from './content.ts'
import { Copies } from './copies.ts'
import { Deputies } from './deputies.ts'
import { Expected } from './expected.ts'
import { Handover } from './handover.ts'
import { History } from './history.ts'
import { Hold as HoldQuestion } from './hold.ts'
import { IngestPace } from './ingest-pace.ts'
import { Inventory } from './inventory.ts'
import { Keeper } from './keeper.ts'
import { Leases } from './leases.ts'
import { Losses } from './losses.ts'
import { type Forgotten, MemberRecords } from './member-records.ts'
import { Owed } from './owed.ts'
import { Pins } from './pins.ts'
import { PushDeputies } from './push-deputies.ts'
import { Repair } from './repair.ts'
import type { ReplicationOptions } from './replication-options.ts'
import { Report } from './report.ts'
import { Room } from './room.ts'
import { Roots } from './roots.ts'
import { RunningTime } from './running-time.ts'
import { Supply } from './supply.ts'
import { Swarming } from './swarming.ts'
import { Synchroniser } from './synchroniser.ts'
import { UploadHomes } from './upload-homes.ts'
import { Verification } from './verification.ts'
import { vitalsOf } from './vitals.ts'

/** What is read from the disk before the rest is made. */
interface Opened {
  readonly inventory: Inventory
  readonly leases: Leases
  readonly time: RunningTime
  readonly owed: Owed
  readonly swarming: Swarming
  readonly expected: Expected
}

/** Joins store, records, mesh and swarm: what should exist on every node comes to be there. */
export class Replication {
  /** What the registry serves. */
  readonly content: ReplicatedContent
  /** Where the uploads are that are not here. */
  readonly uploadHomes: UploadHomes
  /** Who answers clients where this node stores nothing. */
  readonly deputies: Deputies
  /** Who gives pieces to other nodes. */
  readonly pieceDesk: PieceDesk
  /** Who takes pushes that this node has no room for. */
  readonly pushDeputy: PushDeputies
  /** What the outside may ask. */
  readonly report: Report
  /** What its operator may have it do. */
  readonly operations: {
    collect(mode: CollectionMode): Promise<Collection>
    verify(): ReturnType<Verification['run']>
    /** Forgets the members of this name that are not live. Throws `UNAVAILABLE` before {@link start}. */
    forget(name: string): Promise<Forgotten>
  }
  readonly #options: ReplicationOptions
  readonly #inventory: Inventory
  readonly #synchroniser: Synchroniser
  readonly #confirmations: Confirmations
  readonly #swarming: Swarming
  readonly #pace: IngestPace
  readonly #supply: Supply
  readonly #cluster: Cluster
  readonly #copies: Copies
  readonly #roots: Roots
  readonly #leases: Leases
  readonly #collector: Collector
  readonly #verification: Verification
  readonly #handover: Handover
  readonly #history: History
  readonly #owed: Owed
  readonly #repair: Repair
  readonly #unwatch: () => void
  #members: MemberRecords | undefined

  /** Works out what is missing. Nothing is fetched or told before {@link start}. */
  static async open(options: ReplicationOptions): Promise<Replication> {
    const { blobs, records, clock, random, log } = options
    const time = new RunningTime(clock, 2 * MAX_LOOK_INTERVAL_MS)
    const leases = await Leases.open({
      ...{ records, random, ttlMs: options.leaseMs },
      nowMs: () => time.ms()
    })
    const stores = options.hold === 'all'
    const inventory = await Inventory.open({ blobs, records, stores, clock, log })
    const owed = await Owed.open({ dataDir: options.dataDir, log })
    const { disk } = options
    const expected = new Expected(clock)
    const swarming = await Swarming.open({
      ...options,
      expected,
      hasRoom: () => stores && disk.space().state === 'ok',
      onTaken: bytes => disk.wrote(bytes)
    })
    return new Replication(options, { inventory, leases, time, owed, swarming, expected })
  }

  private constructor(
    options: ReplicationOptions,
    { inventory, leases, time, owed, swarming, expected }: Opened
  ) {
    const { name, version, blobs, uploads, records, mesh, disk, metrics } = options
    const { clock, random, log } = options
    this.#options = options
    this.#inventory = inventory
    this.#swarming = swarming
    this.pieceDesk = swarming.driver
    this.#supply = new Supply({ ...options, inventory, swarming })
    const { downloads, intake, passage, locator, replicator } = this.#supply
    this.#roots = new Roots(records)
    this.#synchroniser = new Synchroniser({
      ...{ mesh, records, random, clock, log },
      roots: this.#roots
    })
    this.#confirmations = new Confirmations({ mesh, records, roots: this.#roots, log })
    this.#cluster = new Cluster({
      ...{ mesh, records, inventory, locator, clock, log },
      roots: this.#roots,
      synchroniser: this.#synchroniser,
      // A node above its disk limit is no copy, and none the less ready (design, section 6).
      cannotGet: digest => disk.space().state !== 'ok' || replicator.hasGivenUp(digest),
      deadAfterMs: options.deadAfterMs,
      aloneAfterMs: options.aloneAfterMs
    })
    this.#copies = new Copies({ mesh, inventory, roots: this.#roots })
    const shared = { blobs, records, inventory, disk, downloads }
    const fits = (digest: Digest) => intake.fits(digest)
    const has = (digest: Digest) => blobs.stat(digest) !== undefined || fits(digest)
    const awaited = new Awaited({ inventory, downloads: intake, fits })
    const question = new HoldQuestion({
      ...{ mesh, inventory },
      onAwaited: (manifest, signal) => awaited.fetch(manifest, signal)
    })
    const acknowledgement = new Acknowledgement({
      ...{ mesh, records, inventory, question, owed, clock, log },
      ...{ copies: options.copies, hold: options.hold },
      ackWaitMs: options.ackWaitMs,
      deadAfterMs: options.deadAfterMs,
      ackShort: options.ackShort,
      canHold: manifest => [...inventory.graph.reach(manifest)].every(has)
    })
    this.#handover = new Handover({
      ...{ mesh, records, blobs, inventory, locator, log },
      synchroniser: this.#synchroniser,
      owes: () => owed.size > 0
    })
    const wantedCopies = () => acknowledgement.wantedCopies()
    this.#owed = owed
    this.#repair = new Repair({
      ...{ owed, mesh, records, hold: question, log },
      wantedCopies: () => acknowledgement.owedCopies(),
      copies: this.#copies
    })
    this.#pace = new IngestPace({
      taken: id => swarming.driver.ingests.taken(id),
      ...{ wantedCopies, clock }
    })
    uploads.tap.setPacer(upload => this.#pace.pace(upload))
    uploads.tap.onEnded(upload => this.#pace.ended(upload))
    const room = new Room({ mesh, disk, wantedCopies })
    const pins = new Pins()
    this.#leases = leases
    this.#collector = new Collector({
      ...{ ...shared, uploads, mesh, metrics, leases, pins, time, log },
      synchroniser: this.#synchroniser,
      cluster: this.#cluster,
      replicator,
      graceMs: options.gcGraceMs
    })
    this.#verification = new Verification({
      ...{ blobs, inventory, clock, log },
      replicator,
      onChecked: bytes => metrics.checkedBytes.inc(bytes)
    })
    this.operations = {
      collect: mode => this.#collector.collect(mode),
      verify: () => this.#verification.run(),
      forget: async name => {
        if (this.#members !== undefined) return await this.#members.forget(name)
        throw new StarlingError('UNAVAILABLE', 'the node is starting')
      }
    }
    this.content = new ReplicatedContent({
      ...{ ...shared, uploads, acknowledgement, intake, passage, expected, clock },
      keeper: new Keeper({ records, inventory, leases, pins, log }),
      ...{ cluster: this.#cluster, room },
      sparse: options.sparse
    })
    this.uploadHomes = new UploadHomes({
      ...{ mesh, relay: options.relay },
      hasCaughtUp: () => this.#cluster.wasReady
    })
    this.#history = new History({ records, mesh, clock })
    this.deputies = new Deputies({ mesh, relay: options.relay, prefer: 'last', log })
    this.pushDeputy = new PushDeputies({ mesh, relay: options.relay, room, log })
    this.report = new Report({
      ...{ ...shared, hold: options.hold },
      ...{ mesh, metrics, clock, version, name },
      cluster: this.#cluster,
      copies: this.#copies,
      history: this.#history,
      losses: new Losses({
        ...{ inventory, records, mesh, hasRoom: () => disk.space().state === 'ok' },
        replicator
      }),
      owed
    })
    this.#unwatch = watchConflicts(records, () => metrics.tagConflicts.inc(), log)
  }

  /** Begins to tell, to ask and to fetch. The mesh listens by now, so that its address is known. */
  async start(): Promise<void> {
    const { records, mesh, log } = this.#options
    this.#members = new MemberRecords({ mesh, records, log })
    await this.#members.start()
    this.#synchroniser.start()
    this.#confirmations.start()
    this.#supply.replicator.start()
    this.#cluster.start()
    this.#collector.start()
    this.#repair.start()
  }

  /** What this node says of itself in each heartbeat. */
  vitals(): Vitals {
    return vitalsOf({
      ...this.#options,
      ready: this.#cluster.readiness().ready,
      inventory: this.#inventory,
      replicator: this.#supply.replicator
    })
  }

  /** Says to probes and peers that this node is about to leave, and takes no more pushes. */
  stopping(): void {
    this.#cluster.stopping()
  }

  /** Waits until others hold what only this node holds, no longer than the signal allows. */
  async handOver(signal: AbortSignal): Promise<void> {
    this.stopping()
    const left = await this.#handover.run(signal)
    const { log } = this.#options
    if (left.blobs === 0) log.info(left, 'handed over')
    else log.warn(left, 'stopping with what no other reachable node holds')
  }

  async close(): Promise<void> {
    this.#verification.close()
    await this.#repair.close()
    await this.#owed.close()
    await this.#collector.close()
    this.#leases.close()
    this.#cluster.close()
    this.#supply.replicator.close()
    this.#pace.close()
    this.#swarming.close()
    await this.#supply.close()
    this.#unwatch()
    await this.#confirmations.close()
    await this.#synchroniser.close()
    await this.#members?.close()
    this.#roots.close()
    this.#history.close()
    await this.#inventory.close()
  }
}
