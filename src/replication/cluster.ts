import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Records } from '../records/records.ts'
import type { Inventory } from './inventory.ts'
import type { Located, Locator } from './locator.ts'
import {
  explainReadiness,
  isSince,
  type Readiness,
  type ReadinessFacts,
  startReadiness,
  stepReadiness
} from './readiness.ts'
import type { Roots } from './roots.ts'
import type { Synchroniser } from './synchroniser.ts'

/** Often enough that a pause is noticed before a client's next request is answered. */
const LOOK_INTERVAL_MS = 200
/** Without a word from any neighbour for so long, this node may have missed something. */
const QUIET_MS = 3_000
/** A process that did not run for so long may have missed something (design, section 5). */
const GAP_MS = 1_000
/** How long it then waits for somebody to be heard again: a connection is made anew in about one second. */
const REUNION_MS = 3_000
const REUNION_LOOK_MS = 50

export interface ClusterOptions {
  readonly mesh: Mesh
  readonly records: Pick<Records, 'failure'>
  readonly inventory: Inventory
  readonly synchroniser: Synchroniser
  readonly locator: Locator
  readonly roots: Roots
  /** Whether the blob cannot be had for now: nobody reachable gives it, or there is no room for it. */
  readonly cannotGet: (digest: Digest) => boolean
  readonly deadAfterMs: number
  readonly aloneAfterMs: number
  readonly clock: Clock
  readonly log: Log
}

/** How this node stands with the others: whether it is ready, behind, or alone. */
export class Cluster {
  readonly #options: ClusterOptions
  #state: Readiness
  #facts: ReadinessFacts
  #tickedAtMs: number
  /** The wall clock at that time: a machine that is suspended may stop the monotonic one. */
  #tickedAtWallMs: number
  /** The longest time between two ticks since the last look. */
  #longestGapMs = 0
  /** When the process last ran again after a gap. */
  #wokeAtMs = Number.NEGATIVE_INFINITY
  #stopping = false
  #lastHeardMs: number
  #isolatedSinceMs: number | undefined
  #wasReady = false
  #looking = false
  /** Since when each member has been live. */
  readonly #waiting = new Map<string, number>()
  #timer: NodeJS.Timeout | undefined

  constructor(options: ClusterOptions) {
    this.#options = options
    const now = options.clock.monotonic()
    this.#state = startReadiness(now)
    this.#tickedAtMs = now
    this.#tickedAtWallMs = options.clock.now()
    this.#lastHeardMs = now
    this.#facts = this.#look(now)
    options.mesh.on('beat', () => {
      this.#lastHeardMs = this.#options.clock.monotonic()
    })
    options.synchroniser.onMet((peer, received) => {
      if (received === 0 || this.#state.kind !== 'ready') return
      options.log.info({ peer, received }, 'met a member with more records')
      // The records are level by now; what they call for is the new goal.
      this.#state = startReadiness(0)
    })
  }

  start(): void {
    this.#timer ??= setInterval(() => void this.#tick(), LOOK_INTERVAL_MS).unref()
    void this.#tick()
  }

  /** From now on this node is not ready: it is about to leave. */
  stopping(): void {
    this.#stopping = true
  }

  get isStopping(): boolean {
    return this.#stopping
  }

  readiness(): { ready: boolean; reason: string } {
    if (this.#stopping) return { ready: false, reason: 'stopping' }
    const failure = this.#options.records.failure?.message
    return {
      ready: this.#state.kind === 'ready' && failure === undefined,
      reason: explainReadiness(this.#state, { ...this.#facts, failure })
    }
  }

  /** Whether a tag read here might be stale: ask the mesh before answering (design, section 5). */
  mayBeBehind(): boolean {
    const now = this.#noticeGap()
    if (this.#state.kind !== 'ready') return true
    if (!this.#knowsMembers()) return false
    // Heartbeats from before a gap may still be read after it, so they do not end the doubt.
    const isLevelSinceGap = this.#facts.live.every(
      ({ levelAtMs }) => levelAtMs !== undefined && levelAtMs >= this.#wokeAtMs
    )
    return !isLevelSinceGap || now - this.#lastHeardMs > QUIET_MS
  }

  /** An unready node that knows of others takes no manifests: it cannot tell what they replace. */
  mustNotWrite(): boolean {
    return this.#state.kind !== 'ready' && !this.#facts.nothingToJoin
  }

  /** Whether it has been ready since it started: before, it cannot tell who is not there. */
  get wasReady(): boolean {
    return this.#wasReady
  }

  /** Whether some member cannot be asked now, and with it perhaps the only copy of something. */
  mayReturn(): boolean {
    return this.#options.mesh.peers().some(({ state, connected }) => state !== 'gone' && !connected)
  }

  locate(digests: readonly Digest[], timeoutMs: number): Promise<Located> {
    return this.#options.locator.locate(digests, timeoutMs)
  }

  /**
   * Brings the records level with every live member, within the time given.
   *
   * @returns whether what is unknown here after it is surely unknown: every one of them answered,
   *   and this node has been level with the cluster before
   */
  async catchUp(timeoutMs: number): Promise<boolean> {
    await this.#reunion()
    const { synchroniser, inventory } = this.#options
    const late = new AbortController()
    const settled = synchroniser.levelWithAll(timeoutMs).then(async ({ silent }) => {
      await inventory.settled()
      return silent.length === 0
    })
    // The answers may bring more than can be worked in by then.
    const timeout = delay(2 * timeoutMs, false, { signal: late.signal }).catch(() => false)
    const isLevel = await Promise.race([settled, timeout])
    late.abort()
    return isLevel && this.#wasReady
  }

  close(): void {
    clearInterval(this.#timer)
  }

  async #tick(): Promise<void> {
    this.#noticeGap()
    if (this.#looking) return
    this.#looking = true
    const state = this.#state
    // Whom this node is level with is looked at first: what they have brought by now is worked in
    // then, and what others bring meanwhile counts at the next look.
    const levels = this.#levels()
    try {
      await this.#options.inventory.settled()
      if (this.#state !== state) return
      const now = this.#options.clock.monotonic()
      this.#facts = this.#look(now, levels)
      this.#longestGapMs = 0
      const before = this.#state.kind
      this.#state = stepReadiness(this.#state, this.#facts)
      if (this.#state.kind === 'ready') this.#wasReady = true
      this.#levelSince(this.#state.kind === 'seeking' ? this.#state.sinceMs : this.#wokeAtMs)
      if (this.#state.kind !== before) {
        this.#options.log.info({ from: before, to: this.#state.kind }, 'readiness changed')
      }
    } finally {
      this.#looking = false
    }
  }

  /** A request may be read before the timer goes off that should have gone off long ago. */
  #noticeGap(): number {
    const { clock } = this.#options
    const now = clock.monotonic()
    const wallNow = clock.now()
    const gapMs = now - this.#tickedAtMs
    // A wall clock that was only set costs one exchange with each neighbour.
    const longerGapMs = Math.max(gapMs, wallNow - this.#tickedAtWallMs)
    if (longerGapMs > LOOK_INTERVAL_MS + GAP_MS) this.#wokeAtMs = now
    this.#longestGapMs = Math.max(this.#longestGapMs, gapMs)
    this.#tickedAtMs = now
    this.#tickedAtWallMs = wallNow
    return now
  }

  /**
   * The others have hung up on a process that did not run for long. Before it answers from what it
   * knew then, it gives them a moment to be reached again.
   */
  async #reunion(): Promise<void> {
    const { mesh, synchroniser, clock } = this.#options
    this.#noticeGap()
    const isHeard = () =>
      mesh.peers().some(({ id }) => isSince(synchroniser.levelSince(id), this.#wokeAtMs))
    const isOver = () => clock.monotonic() - this.#wokeAtMs > REUNION_MS
    while (this.#knowsMembers() && !isOver() && !isHeard()) await delay(REUNION_LOOK_MS)
  }

  /** Equal roots cause no exchange; after a pause each neighbour has to be asked all the same. */
  #levelSince(sinceMs: number): void {
    const { mesh, synchroniser } = this.#options
    for (const { id, levelAtMs } of this.#facts.live) {
      if (levelAtMs !== undefined && levelAtMs >= sinceMs) continue
      if (mesh.peer(id)?.connected) void synchroniser.level(id)
    }
  }

  #look(nowMs: number, levels = this.#levels()): ReadinessFacts {
    const { mesh, records, inventory, cannotGet, deadAfterMs, aloneAfterMs } = this.#options
    const members = mesh.peers().filter(({ state }) => state !== 'gone')
    const live = members.filter(({ state }) => state === 'live')
    const discovery = mesh.discovery()
    if (live.length > 0 || members.length === 0) this.#isolatedSinceMs = undefined
    else this.#isolatedSinceMs ??= nowMs
    for (const id of this.#waiting.keys()) {
      if (!live.some(peer => peer.id === id)) this.#waiting.delete(id)
    }
    const missing = inventory.missing()
    return {
      nowMs,
      gapMs: this.#longestGapMs,
      nothingToJoin: !discovery.configured && members.length === 0,
      discoveredAlone: discovery.alone && members.length === 0,
      live: live.map(({ id }) => ({
        id,
        levelAtMs: levels.get(id),
        stalledMs: this.#stalledMs(id, nowMs)
      })),
      away: members.length - live.length,
      refusedBy: discovery.refusedBy,
      isolatedSinceMs: this.#isolatedSinceMs,
      failure: records.failure?.message,
      missing,
      unavailable: cannotGet,
      missingBelow: digest => [...inventory.graph.needs(digest)].filter(each => missing.has(each)),
      deadAfterMs,
      aloneAfterMs
    }
  }

  /** As of when this node is level with each live member, as far as it is. */
  #levels(): ReadonlyMap<string, number | undefined> {
    const { mesh, synchroniser, clock } = this.#options
    const nowMs = clock.monotonic()
    const live = mesh.peers().filter(({ state }) => state === 'live')
    return new Map(
      live.map(peer => [
        peer.id,
        peer.connected ? synchroniser.levelSince(peer.id) : this.#relayedLevel(peer, nowMs)
      ])
    )
  }

  /** A member just heard of is given as much time as one whose records stopped to move. */
  #stalledMs(peer: string, nowMs: number): number {
    const waitingSinceMs = this.#waiting.get(peer) ?? nowMs
    this.#waiting.set(peer, waitingSinceMs)
    const movedAtMs = this.#options.synchroniser.progressAt(peer) ?? waitingSinceMs
    return nowMs - Math.max(waitingSinceMs, movedAtMs)
  }

  /** A live member without a connection is level when its relayed root is, or was, ours. */
  #relayedLevel({ beat, lastHeardMs }: PeerView, nowMs: number): number | undefined {
    if (beat === undefined || lastHeardMs === undefined) return undefined
    if (this.#options.roots.sequenceOf(beat.root) === undefined) return undefined
    // What a process finds unread when it wakes was said before it slept.
    return nowMs - lastHeardMs - GAP_MS
  }

  #knowsMembers(): boolean {
    return this.#options.mesh.peers().some(({ state }) => state !== 'gone')
  }
}
