import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type Beat, decodeBeat, encodeBeat, MAX_BEAT_BYTES, type Vitals } from './beat.ts'
import type { Life } from './life.ts'
import type { Link, Neighbours } from './neighbours.ts'
import type { MeshNode } from './node.ts'
import { decodePulse, encodePulse, MAX_PULSE_BYTES } from './pulse.ts'
import { call, serve } from './rpc.ts'

export interface HeartOptions {
  readonly node: MeshNode
  readonly neighbours: Neighbours
  readonly self: { readonly id: string; readonly boot: string; readonly bootedAt: number }
  /** Asked for each heartbeat. */
  readonly vitals: () => Vitals
  readonly deadAfterMs: number
  /** Spreads a heartbeat to those who are not connected. */
  readonly gossip: (beat: Uint8Array) => void
  /** Whether a member is not connected, and so hears this node by gossip or not at all. */
  readonly isGossipNeeded: () => boolean
  /** Another process than this boot that was heard under a peer's id. */
  readonly rivalOf: (peer: string, boot: string) => Life | undefined
  /** A neighbour heard another process under our id. */
  readonly onTwin: (life: Life) => void
  readonly onBeat: (beat: Beat, path: 'direct' | 'relayed') => void
  readonly signal: AbortSignal
  readonly log: Log
}

const PROTOCOL = '/starling/1/beat'

/** Every 2 s by default; three may be lost before dead-after where that is shorter. */
const MAX_INTERVAL_MS = 2_000

/**
 * Each exchange brings both heartbeats, so the end whose turn comes shortly after one leaves it out:
 * the other end goes on at its own pace. A peer that falls silent is asked at the next turn.
 */
const RECENT_SHARE = 0.6

/**
 * Where everyone is connected, heartbeats are gossiped one in so many times, only to show that
 * gossip gets through. Eight nodes at rest use half of what they used when each was signed, relayed
 * by all to all, and verified.
 */
const GOSSIP_ONE_IN = 4

/**
 * Gossipsub does not reopen a stream that failed while its connection lives (js-libp2p #3531), and
 * the two ends are then deaf to each other. It may take some seconds to open one after a mass start.
 */
const MAX_DEAF_MS = 30_000

/**
 * Sends this node's heartbeat: to each neighbour over its connection, who answers with its own, so
 * that the exchange also probes the connection; and by gossip, to whoever is not a neighbour.
 */
export class Heart {
  readonly #options: HeartOptions
  readonly #intervalMs: number
  #sequence = 0
  #turns = 0
  #timer: NodeJS.Timeout | undefined

  constructor(options: HeartOptions) {
    this.#options = options
    this.#intervalMs = Math.min(MAX_INTERVAL_MS, options.deadAfterMs / 3)
  }

  async open(): Promise<void> {
    const { node, neighbours, signal } = this.#options
    await serve(
      node,
      PROTOCOL,
      { maxBytes: MAX_BEAT_BYTES, signal },
      async (connection, payload, left) => {
        await neighbours.greeted(connection, left)
        const peer = connection.remotePeer.toString()
        const theirs = decodeBeat(payload)
        const rival = this.#options.rivalOf(peer, theirs.boot)
        this.#hear(peer, theirs, neighbours.link(connection))
        return encodePulse({ beat: this.#own(), rival })
      }
    )
  }

  start(): void {
    this.#timer ??= setInterval(() => this.#beat(), this.#intervalMs)
  }

  /** One heartbeat over one connection, at once. */
  async probe(link: Link): Promise<void> {
    if (link.beating) return
    link.beating = true
    try {
      // No deadline here: silence is counted by `age`, which knows when this node itself slept.
      const options = { signal: this.#options.signal, maxBytes: MAX_PULSE_BYTES }
      const payload = encodeBeat(this.#own())
      const pulse = decodePulse(await call(link.connection, PROTOCOL, payload, options))
      this.#hear(link.peer, pulse.beat, link)
      if (pulse.rival !== undefined) this.#options.onTwin(pulse.rival)
    } catch (error) {
      this.#options.log.debug({ peer: link.peer, err: error }, 'heartbeat failed')
    } finally {
      link.beating = false
    }
  }

  /** A heartbeat came by gossip, signed by its origin. */
  hearGossip(origin: string, payload: Uint8Array): void {
    for (const link of this.#options.neighbours.linksOf(origin)) link.deafMs = 0
    const beat = decodeBeat(payload)
    if (beat.id !== origin) throw new StarlingError('PEER_FAILED', 'a heartbeat of another node')
    this.#options.onBeat(beat, 'relayed')
  }

  /** Counts silence, and cuts the connections that have been silent or deaf for too long. */
  age(passedMs: number): void {
    const { neighbours, deadAfterMs, log } = this.#options
    for (const link of neighbours.links()) {
      link.silentMs += passedMs
      link.deafMs += passedMs
      const silent = link.silentMs > deadAfterMs
      if (!silent && link.deafMs <= Math.max(MAX_DEAF_MS, deadAfterMs)) continue
      const reason = silent ? 'silent' : 'deaf to gossip'
      log.warn({ peer: link.peer, reason }, 'connection cut')
      link.connection.abort(new StarlingError('PEER_FAILED', `the connection is ${reason}`))
    }
  }

  close(): void {
    clearInterval(this.#timer)
  }

  #beat(): void {
    const { neighbours, gossip, isGossipNeeded } = this.#options
    for (const link of neighbours.links()) {
      if (link.silentMs >= RECENT_SHARE * this.#intervalMs) void this.probe(link)
    }
    const isDue = this.#turns++ % GOSSIP_ONE_IN === 0
    if (isDue || isGossipNeeded()) gossip(encodeBeat(this.#own()))
  }

  #hear(peer: string, beat: Beat, link: Link | undefined): void {
    if (beat.id !== peer) throw new StarlingError('PEER_FAILED', 'a heartbeat of another node')
    if (link !== undefined) link.silentMs = 0
    this.#options.onBeat(beat, 'direct')
  }

  #own(): Beat {
    const { self, vitals } = this.#options
    this.#sequence += 1
    const { id, boot, bootedAt } = self
    return { ...vitals(), id, boot, bootedAt, sequence: this.#sequence }
  }
}
