import { setTimeout as delay } from 'node:timers/promises'
import type { Clock, Random } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { answer, type ReconcileStore, reconcile } from '../records/reconcile.ts'
import type { Applied, Records } from '../records/records.ts'
import { MAX_FRAME_BYTES } from '../records/wire.ts'
import { announcementsOf, MAX_GOSSIP_BYTES, RECONCILE_PROTOCOL } from './wire.ts'

/** How often roots are compared with what neighbours last told; gossip does the rest. */
const COMPARE_INTERVAL_MS = 3_000
/** One reconciliation may move many records; a peer that takes longer is tried again later. */
const RECONCILE_TIMEOUT_MS = 60_000

type SynchroniserMesh = Pick<Mesh, 'peers' | 'request' | 'handle' | 'publish' | 'on'>

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
  readonly #level = new Map<string, number>()
  /** Records other than of members that each peer has brought, whichever side asked, since it connected. */
  readonly #facts = new Map<string, number>()
  readonly #metListeners = new Set<(peer: string, received: number) => void>()
  readonly #unsubscribe: () => void
  #loop: Promise<void> | undefined

  constructor(options: {
    mesh: SynchroniserMesh
    records: Records
    random: Random
    clock: Clock
    log: Log
  }) {
    this.#mesh = options.mesh
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
    this.#unsubscribe = this.#records.onApplied(applied => this.#gossip(applied))
  }

  start(): void {
    this.#loop ??= this.#compareForEver()
  }

  /** When (monotonic) this node last stood level with the peer, since its latest connection. */
  levelSince(peer: string): number | undefined {
    return this.#level.get(peer)
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
    const run = this.#reconcile(peer).finally(() => this.#running.delete(peer))
    this.#running.set(peer, run)
    return run
  }

  async #reconcile(peer: string): Promise<boolean> {
    if (this.#closing.signal.aborted) return false
    const signal = AbortSignal.any([
      this.#closing.signal,
      AbortSignal.timeout(RECONCILE_TIMEOUT_MS)
    ])
    try {
      const { received, sent, refused } = await reconcile(
        this.#storeFor(peer),
        request =>
          this.#mesh.request(peer, RECONCILE_PROTOCOL, request, {
            signal,
            maxBytes: MAX_FRAME_BYTES
          }),
        signal
      )
      const isFirst = !this.#level.has(peer)
      this.#level.set(peer, this.#clock.monotonic())
      if (received + sent > 0) this.#log.info({ peer, received, sent }, 'records reconciled')
      if (refused !== undefined) this.#log.warn({ peer, err: refused }, 'peer takes no records')
      if (isFirst)
        for (const listener of this.#metListeners) {
          listener(peer, this.#facts.get(peer) ?? 0)
        }
      return true
    } catch (error) {
      if (!this.#closing.signal.aborted) {
        this.#log.debug({ peer, err: error }, 'reconciliation failed')
      }
      return false
    }
  }

  /** The records, counting what the peer brings. */
  #storeFor(peer: string): ReconcileStore {
    return {
      root: () => this.#records.root(),
      bucketHashes: () => this.#records.bucketHashes(),
      idsOf: bucket => this.#records.idsOf(bucket),
      get: ids => this.#records.get(ids),
      apply: async records => {
        const result = await this.#records.apply(records)
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
