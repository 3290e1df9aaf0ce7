import type { Digest } from '../../src/digest.ts'
import { covers } from '../../src/records/merge.ts'
import { decodeRecord, type StampedRecord } from '../../src/records/record.ts'
import { registerName } from '../../src/records/register.ts'
import type { Place } from './client.ts'
import { type Change, type History, isAcknowledged } from './history.ts'
import { reachOf } from './images.ts'
import type { Host } from './machine/world.ts'
import type { SimNode } from './node.ts'
import type { Simulation } from './simulation.ts'

/** A member that missed a write is right so long after it hears others again (design, P2). */
const RIGHT_AFTER_MS = 5_000
/** Time to be heard again after a fault: a redial at most 3 s apart, and a look at the roots. */
const HEARD_AFTER_MS = 4_000

/**
 * Holds what the cluster does against what it promises (design, section 2): at each acknowledgement,
 * each answer, each blob removed and each time a node says that it is ready.
 */
export class Promises {
  /** The first one that was broken, in words. */
  broken: string | undefined
  readonly #simulation: Simulation
  readonly #history: History
  /** The records that each machine has ever merged, by register, since it last lost its disk. */
  readonly #heard = new WeakMap<Host, Map<string, StampedRecord[]>>()
  /** When each process last met each other one, by id. */
  readonly #metAtMs = new WeakMap<SimNode, Map<string, number>>()
  readonly #ready = new Map<SimNode, { isReady: boolean; sinceMs: number; isHearing: boolean }>()
  readonly #lossesAtMs: number[] = []
  readonly #sweeps: { readonly digest: Digest; readonly atMs: number }[] = []

  constructor(simulation: Simulation, history: History) {
    this.#simulation = simulation
    this.#history = history
    simulation.onOpened = node => this.#watch(node)
    simulation.onLoss = (host, digest) => this.#lost(host, digest)
  }

  /** After each step that a node has taken. */
  step(node: SimNode): void {
    const isReady = node.cluster.readiness().ready
    const before = this.#ready.get(node)
    if (before?.isReady === isReady) return
    const { nowMs } = this.#simulation.world
    this.#ready.set(node, { isReady, sinceMs: nowMs, isHearing: this.#isHearing(node) })
    if (!isReady) return
    const since = before ?? { sinceMs: nowMs, isHearing: false }
    // Whom it heard when it began to catch up it need not meet again.
    if (!since.isHearing) this.#isReadyAlone(node, since.sinceMs)
    void this.#isReady(node, since.sinceMs)
  }

  /** P1 and P2, for a write that was just answered without a warning. */
  acknowledged(node: SimNode, change: Change): void {
    const { settings, nodes } = this.#simulation
    const peers = node.mesh.peers()
    const members = 1 + peers.filter(({ state }) => state !== 'gone').length
    const { copies } = settings
    change.copies = Math.min(copies === 'all' ? members : copies, members)
    const live = peers.filter(({ state }) => state === 'live').map(({ id }) => id)
    const others = nodes.filter(({ mesh }) => live.includes(mesh.id))
    const knowing = [node, ...others.filter(other => this.#knows(other.host, change.written))]
    change.liveAtEnd = new Set(knowing.map(({ mesh }) => mesh.boot))
    // An image that was there already is linked and tagged anew all the same.
    if (change.kind === 'push' && change.written.length < 2) {
      this.#break(`P1: ${told(change)} answered, and not written`)
    }
    const copiesNow = this.#copiesOf(change)
    // What was lost while the others were asked was a copy when it said so.
    const lostMeanwhile = this.#lossesAtMs.filter(atMs => atMs >= change.beganMs).length
    change.losses = lostMeanwhile + this.#rottenCopiesOf(change)
    if (copiesNow + lostMeanwhile < change.copies) {
      this.#break(
        `P1: ${told(change)} answered with ${copiesNow} of ${change.copies} copies durable`
      )
    }
    if (change.losses > 0) this.#excuse(change, this.#simulation.hosts)
    for (const other of others) {
      const metAtMs = this.#metAtMs.get(node)?.get(other.mesh.id) ?? 0
      const isNews = this.#simulation.world.nowMs - metAtMs < RIGHT_AFTER_MS
      if (knowing.includes(other) || isNews || other.cluster.mayBeBehind()) continue
      this.#break(
        `P2: ${told(change)} answered, and ${other.host.name}, which is live, does not know`
      )
    }
  }

  /** P2 and P6, for an answer about a tag that was asked for at a moment. */
  answered(node: SimNode, place: Place, digest: Digest | undefined, beganMs: number): void {
    const isHearing = beganMs - this.#simulation.quietSinceMs > RIGHT_AFTER_MS + HEARD_AFTER_MS
    // What was written while this node was not live, it may not have heard of yet.
    const binds = (change: Change) =>
      isAcknowledged(change) &&
      (change.endedMs ?? beganMs) < beganMs &&
      (isHearing || change.liveAtEnd.has(node.mesh.boot))
    const { repository, tag } = place
    const why = this.#history.contradiction(repository, tag, digest, binds)
    if (why === undefined) return
    const what = digest === undefined ? 'nothing' : digest.slice(7, 15)
    this.#break(`P2: ${node.host.name} answers ${repository}:${tag} with ${what}: ${why}`)
  }

  /** P6: a push that was told a blob is here may not find that it was collected. */
  refused(change: Change, error: Error): void {
    const needed = reachOf(change.image)
    const swept = this.#sweeps.find(
      ({ digest, atMs }) => needed.includes(digest) && atMs >= change.beganMs
    )
    if (swept === undefined) return
    this.#break(
      `P6: ${told(change)} refused, for ${swept.digest.slice(7, 15)} was collected during it: ${error.message}`
    )
  }

  /** What a schedule that has ended must have come to; see `convergence.ts`. */
  breaks(words: string): void {
    this.#break(words)
  }

  async #watch(node: SimNode): Promise<void> {
    const heard = this.#heard.get(node.host) ?? new Map<string, StampedRecord[]>()
    this.#heard.set(node.host, heard)
    const hear = (bytes: Uint8Array) => {
      const record = decodeRecord(bytes)
      const name = registerName(record)
      heard.set(name, [...(heard.get(name) ?? []), record])
    }
    node.records.onApplied(applied => {
      for (const { bytes } of applied) hear(bytes)
    })
    const metAtMs = new Map<string, number>()
    this.#metAtMs.set(node, metAtMs)
    node.mesh.on('live', peer => metAtMs.set(peer, this.#simulation.world.nowMs))
    // Until it was found, rot was a copy in good faith.
    node.blobs.onLost(() => this.#lossesAtMs.push(this.#simulation.world.nowMs))
    node.blobs.onSweep = digest => {
      this.#sweeps.push({ digest, atMs: this.#simulation.world.nowMs })
      void this.#mayGo(node, digest)
    }
    // What a process had written when it ended, others may have been told of by no word but this.
    const ids = await node.records.idsIn('', undefined, Number.MAX_SAFE_INTEGER)
    for (const bytes of await node.records.get(ids)) hear(bytes)
  }

  /** P6, the other way round: nothing goes that an image of this node's own records needs. */
  async #mayGo(node: SimNode, digest: Digest): Promise<void> {
    for (const push of this.#history.standingImages()) {
      if (!reachOf(push.image).includes(digest)) continue
      const link = await node.records.link(push.repository, push.image.digest)
      if (link !== undefined) this.#break(`P6: ${node.host.name} collects what ${told(push)} needs`)
    }
  }

  /** P7: readiness does not lie about what was acknowledged before the node began to catch up. */
  async #isReady(node: SimNode, sinceMs: number): Promise<void> {
    const { nodes, quietSinceMs, world } = this.#simulation
    // A holder that could not be reached a while ago may count as one that cannot give.
    const isQuiet = world.nowMs - quietSinceMs > RIGHT_AFTER_MS + HEARD_AFTER_MS
    const live = node.mesh
      .peers()
      .filter(({ state }) => state === 'live')
      .map(({ id }) => id)
    const givers = nodes.filter(other => live.includes(other.mesh.id))
    for (const push of this.#history.standingImages()) {
      if ((push.endedMs ?? sinceMs) >= sinceMs) continue
      const had = givers.filter(({ mesh }) => push.liveAtEnd.has(mesh.boot))
      if (had.length === 0) continue
      const link = await node.records.link(push.repository, push.image.digest)
      if (!this.#runs(node)) return
      if (link === undefined)
        this.#break(`P7: ${node.host.name} is ready and does not know of ${told(push)}`)
      const isGiven = (digest: Digest) => had.some(({ blobs }) => blobs.stat(digest) !== undefined)
      const lacks = reachOf(push.image).filter(digest => node.blobs.stat(digest) === undefined)
      const isFull = node.isFull || node.host.disk.faults.refuses !== undefined
      if (!isQuiet || isFull || !lacks.some(isGiven)) continue
      this.#break(`P7: ${node.host.name} is ready and lacks blobs of ${told(push)}`)
    }
  }

  #isHearing(node: SimNode): boolean {
    const { deadAfterMs } = this.#simulation.settings
    return node.mesh
      .peers()
      .some(({ state, lastHeardMs = deadAfterMs }) => state === 'live' && lastHeardMs < deadAfterMs)
  }

  /** A node that hears nobody, though others can be found, waits before it takes itself for alone. */
  #isReadyAlone(node: SimNode, sinceMs: number): void {
    const { hosts, settings, world } = this.#simulation
    const isLive = node.mesh.peers().some(({ state }) => state === 'live')
    const hasMet =
      isLive || [...(this.#metAtMs.get(node)?.values() ?? [])].some(ms => ms >= sinceMs)
    const leastMs = settings.aloneAfterMs - settings.deadAfterMs - HEARD_AFTER_MS / 4
    if (hasMet || hosts.length === 1 || world.nowMs - sinceMs >= leastMs) return
    this.#break(`P7: ${node.host.name} is ready and has neither heard nor waited for anybody`)
  }

  /** A disk is about to be lost, or a blob on it: what was promised must survive K-1 of that. */
  #lost(host: Host, digest: Digest | undefined): void {
    this.#lossesAtMs.push(this.#simulation.world.nowMs)
    if (digest === undefined) this.#heard.delete(host)
    const others = this.#simulation.hosts.filter(other => other !== host)
    for (const change of this.#history.changes) {
      if (change.outcome === 'unknown') continue
      if (digest !== undefined && !reachOf(change.image).includes(digest)) continue
      change.losses += 1
      this.#excuse(change, others)
    }
  }

  /** Where more was lost than is promised to be survived, what comes of it is nobody's fault. */
  #excuse(change: Change, hosts: readonly Host[]): void {
    const isSound = ({ disk }: Host) => !reachOf(change.image).some(each => disk.rotten.has(each))
    if (hosts.some(host => this.#isDurable(host, change) && isSound(host))) return
    if (change.outcome === 'warned' || change.losses >= change.copies) change.outcome = 'unknown'
  }

  #isDurable(host: Host, change: Change): boolean {
    if (change.kind === 'push' && !hasBlobs(host.disk.blobs, change)) return false
    return change.written.every(record => this.#hasSynced(host, record))
  }

  /**
   * On how many disks the part of the change is that is on fewest: the blobs, or one of the records.
   * Whatever K-1 of all disks are lost, something of each is left.
   */
  #copiesOf(change: Change): number {
    const { hosts } = this.#simulation
    const counts = change.written.map(
      record => hosts.filter(host => this.#hasSynced(host, record)).length
    )
    if (change.kind === 'push') {
      counts.push(hosts.filter(({ disk }) => hasBlobs(disk.blobs, change)).length)
    }
    return Math.min(...counts)
  }

  /** Nobody knows of rot that has not been read, so that such a copy is counted in good faith. */
  #rottenCopiesOf({ kind, image }: Change): number {
    if (kind !== 'push') return 0
    const isRotten = ({ disk }: Host) => reachOf(image).some(each => disk.rotten.has(each))
    return this.#simulation.hosts.filter(isRotten).length
  }

  #hasSynced(host: Host, record: StampedRecord): boolean {
    return this.#knows(host, [record], ({ bytes }) => host.disk.hasSynced(bytes))
  }

  /** Whether all that the change wrote has come to a machine, or something that replaces it. */
  #knows(
    host: Host,
    written: readonly StampedRecord[],
    counts: (record: StampedRecord) => boolean = () => true
  ): boolean {
    const heard = this.#heard.get(host)
    return written.every(record =>
      (heard?.get(registerName(record)) ?? []).some(
        each => (each.id === record.id || covers(each, record)) && counts(each)
      )
    )
  }

  /** What is read of a node that has ended meanwhile says nothing. */
  #runs({ host, mesh }: SimNode): boolean {
    return this.#simulation.nodeOf(host)?.mesh === mesh
  }

  #break(words: string): void {
    this.broken ??= words
  }
}

function hasBlobs(blobs: ReadonlyMap<Digest, unknown>, { image }: Change): boolean {
  return reachOf(image).every(digest => blobs.has(digest))
}

function told({ kind, repository, tag, image, beganMs }: Change): string {
  return `${kind} of ${repository}:${tag} (${image.name}, at ${Math.round(beganMs)} ms)`
}
