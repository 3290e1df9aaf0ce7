import { setTimeout as delay } from 'node:timers/promises'
import type { Clock, Random } from '../clock.ts'
import { withDeadline } from '../deadline.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { answer, type ReconcileStore } from '../records/answer.ts'
import { DeltaLog } from '../records/delta-log.ts'
import { peerStore } from '../records/peer-store.ts'
import { type LastEqual, type Reconciled, reconcile } from '../records/reconcile.ts'
import type { Applied, Records } from '../records/records.ts'
import { MAX_FRAME_BYTES } from '../records/wire.ts'
import type { Roots } from './roots.ts'
import { announcementsOf, MAX_GOSSIP_BYTES, RECONCILE_PROTOCOL } from './wire.ts'

/** How often roots are compared with what neighbours last told; gossip does the rest. */
const COMPARE_INTERVAL_MS = 3_000
/** A frame is read or merged in tens of milliseconds; a peer that takes longer is tried again later. */
const REQUEST_TIMEOUT_MS = 15_000

type SynchroniserMesh = Pick<Mesh, 'boot' | 'peers' | 'request' | 'handle' | 'publish' | 'on'>

/** Whom a question went to, and who did not answer in time. */
export interface Asked {
  readonly answered: readonly string[]
  readonly silent: readonly string[]
}

/**
 * Keeps the records the same everywhere: gossips what is written here, and reconciles with each
 * neighbour on every connection and whenever the roots differ. Gossip is the accelerator,
 * reconciliation the guarantee.
 */
export class Synchroniser {
  readonly #mesh: SynchroniserMesh
  readonly #records: Records
  readonly #random: Random
  readonly #clock: Clock
  readonly #log: Log
  readonly #closing = new AbortController()
  readonly #running = new Map<string, Promise<boolean>>()
  readonly #queued = new Map<string, Promise<boolean>>()
  readonly #roots: Pick<Roots, 'sequenceOf'>
  readonly #delta = new DeltaLog()
  /** Where each peer and this node stood when its heartbeat last told a root that was ours too. */
  readonly #lastEqual = new Map<string, LastEqual>()
  readonly #level = new Map<string, number>()
  /** When records last went either way between a peer and this node, or both were level. */
  readonly #progress = new Map<string, number>()
  /** Records other than of members that each peer has brought, whichever side asked, since it connected. */
  readonly #facts = new Map<string, number>()
  readonly #metListeners = new Set<(peer: string, received: number) => void>()
  readonly #unsubscribe: () => void
  #loop: Promise<void> | undefined

  constructor(options: {
    mesh: SynchroniserMesh
    records: Records
    roots: Pick<Roots, 'sequenceOf'>
    random: Random
    clock: Clock
    log: Log
  }) {
    this.#mesh = options.mesh
    this.#roots = options.roots
    this.#records = options.records
    this.#random = options.random
    this.#clock = options.clock
    this.#log = options.log
    this.#mesh.handle(RECONCILE_PROTOCOL, MAX_FRAME_BYTES, (peer, request) =>
      answer(this.#storeFor(peer), request)
    )
    this.#mesh.on('connected', peer => {
      this.#level.delete(peer)
      this.#facts.delete(peer)
      void this.level(peer)
    })
    this.#mesh.on('beat', (peer, { boot, position, root }) => {
      const sequence = this.#roots.sequenceOf(root)
      if (sequence === undefined) return
      const mine = { epoch: this.#mesh.boot, sequence }
      this.#lastEqual.set(peer, { theirs: { epoch: boot, sequence: position }, mine })
    })
    this.#mesh.on('gone', peer => this.#forget(peer))
    this.#unsubscribe = this.#records.onApplied(applied => {
      this.#delta.add(applied)
      this.#gossip(applied)
    })
  }

  start(): void {
    this.#loop ??= this.#compareForEver()
  }

  /** As of when (monotonic) this node last stood level with the peer, since its latest connection. */
  levelSince(peer: string): number | undefined {
    return this.#level.get(peer)
  }

  /** When (monotonic) an exchange with the peer last got anywhere; `undefined` if it never has. */
  progressAt(peer: string): number | undefined {
    return this.#progress.get(peer)
  }

  /**
   * Calls back after the first reconciliation of each connection, with how many records came that
   * say what should exist. Member records do not: every node that starts brings its own.
   */
  onMet(listener: (peer: string, received: number) => void): void {
    this.#metListeners.add(listener)
  }

  /**
   * Exchanges records with a peer until both have the same, as of now or later: a run already under
   * way is followed by another. Resolves to whether it worked.
   */
  level(peer: string): Promise<boolean> {
    const queued = this.#queued.get(peer)
    if (queued !== undefined) return queued
    const running = this.#running.get(peer)
    if (running === undefined) return this.#run(peer)
    const next = running.then(() => {
      this.#queued.delete(peer)
      return this.#run(peer)
    })
    this.#queued.set(peer, next)
    return next
  }

  /** Levels with every live member; those not connected, or not answering in time, are silent. */
  async levelWithAll(timeoutMs: number): Promise<Asked> {
    const live = this.#mesh.peers().filter(({ state }) => state === 'live')
    const peers = live.filter(({ connected }) => connected)
    const answered: string[] = []
    const silent = live.filter(({ connected }) => !connected).map(({ id }) => id)
    const deadline = new AbortController()
    await Promise.all(
      peers.map(async ({ id }) => {
        const late = delay(timeoutMs, false, { signal: deadline.signal }).catch(() => false)
        if (await Promise.race([this.level(id), late])) answered.push(id)
        else silent.push(id)
      })
    )
    deadline.abort()
    return { answered, silent }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#unsubscribe()
    await Promise.allSettled([this.#loop, ...this.#running.values(), ...this.#queued.values()])
  }

  #run(peer: string): Promise<boolean> {
    const run = this.#reconcile(peer).finally(() => {
      this.#running.delete(peer)
      // What went on when the member was given up has noted it again.
      if (this.#isGone(peer)) this.#forget(peer)
    })
    this.#running.set(peer, run)
    return run
  }

  async #reconcile(peer: string): Promise<boolean> {
    if (this.#closing.signal.aborted) return false
    // What an exchange began with may be old when it ends: a process that slept in the middle of one
    // has missed all that was written meanwhile.
    const beganMs = this.#clock.monotonic()
    try {
      const reconciled = await this.#exchange(peer)
      if (reconciled.end === 'stuck') {
        this.#log.warn({ peer }, 'records differ and cannot be exchanged')
        return false
      }
      if (reconciled.terms !== undefined) {
        await this.#records.forgetting.stoodLevel(reconciled.terms)
      }
      this.#levelled(peer, beganMs, reconciled)
      return true
    } catch (error) {
      if (!this.#closing.signal.aborted) {
        this.#log.debug({ peer, err: error }, 'reconciliation failed')
      }
      return false
    }
  }

  /**
   * The first exchange of a connection begins with what each side applied while there was none.
   * Later on gossip brings nearly everything, and the few differences are found by ranges.
   */
  #exchange(peer: string): Promise<Reconciled> {
    const { signal } = this.#closing
    const ask = (request: Uint8Array) =>
      this.#mesh.request(peer, RECONCILE_PROTOCOL, request, {
        signal: withDeadline(REQUEST_TIMEOUT_MS, signal),
        maxBytes: MAX_FRAME_BYTES
      })
    const lastEqual = this.#level.has(peer) ? undefined : this.#lastEqual.get(peer)
    return reconcile(this.#storeFor(peer), ask, signal, lastEqual)
  }

  #levelled(peer: string, beganMs: number, reconciled: Reconciled): void {
    const { received, sent, end, refused } = reconciled
    const isFirst = !this.#level.has(peer)
    this.#level.set(peer, beganMs)
    this.#progress.set(peer, this.#clock.monotonic())
    if (received + sent > 0) this.#log.info({ peer, received, sent, end }, 'records reconciled')
    if (refused !== undefined) this.#log.warn({ peer, err: refused }, 'peer takes no records')
    if (!isFirst) return
    for (const listener of this.#metListeners) listener(peer, this.#facts.get(peer) ?? 0)
  }

  /** A member that is gone may never return, and others come under new ids for ever. */
  #forget(peer: string): void {
    for (const notes of [this.#lastEqual, this.#level, this.#progress, this.#facts]) {
      notes.delete(peer)
    }
  }

  #isGone(peer: string): boolean {
    const view = this.#mesh.peers().find(({ id }) => id === peer)
    return view?.state === 'gone' && !view.connected
  }

  /** The records, counting what the peer brings. */
  #storeFor(peer: string): ReconcileStore {
    return {
      ...peerStore(this.#records, peer),
      since: ({ epoch, sequence }, limit) =>
        epoch === this.#mesh.boot ? this.#delta.since(sequence, limit, peer) : undefined,
      apply: async (records, vouched) => {
        const result = await this.#records.apply(records, { peer, vouched })
        this.#delta.cameFrom(peer, result.applied)
        if (result.applied.length > 0) this.#progress.set(peer, this.#clock.monotonic())
        const facts = result.applied.filter(({ kind }) => kind !== 'member').length
        this.#facts.set(peer, (this.#facts.get(peer) ?? 0) + facts)
        return result
      }
    }
  }

  async #compareForEver(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      const wait = COMPARE_INTERVAL_MS * (0.75 + this.#random() / 2)
      await delay(wait, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return
      const root = this.#records.root().hash
      for (const peer of this.#mesh.peers()) {
        if (!peer.connected) continue
        if (peer.beat === undefined || peer.beat.root !== root || !this.#level.has(peer.id)) {
          void this.level(peer.id)
        }
      }
    }
  }

  #gossip(applied: readonly Applied[]): void {
    const own = applied.filter(({ local }) => local).map(({ bytes }) => bytes)
    for (const message of announcementsOf(own, MAX_GOSSIP_BYTES)) this.#mesh.publish(message)
  }
}
