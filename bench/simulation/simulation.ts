import type { Random } from '../../src/clock.ts'
import { pieceCountFor } from '../../src/swarm/piece-size.ts'
import { Bits } from '../../src/swarm/schedule/bits.ts'
import type { Effect, Event } from '../../src/swarm/schedule/messages.ts'
import { EventQueue } from './event-queue.ts'
import { type Flow, Network } from './network.ts'
import { type Outcome, SEED, tally } from './outcome.ts'
import type { Decider, Policy } from './policy.ts'
import { seededRandom } from './random.ts'
import type { Scenario } from './scenario.ts'

/** What verifying and storing a piece costs: a fixed part, and a rate (sha256 and a write). */
const PIECE_COST_MS = 1
const PIECE_BYTES_PER_MS = 800_000

/** From one node to another; a switched network, with the processors that answer. */
const LATENCY_MS = 0.5

/** How long the announcement of a blob takes to reach a node, at most. */
const GOSSIP_MS = 20

/** A node that dies is noticed after this, as by heartbeats: nothing resets its connections. */
const DEAD_AFTER_MS = 6_000

/** A run that takes so many times the bound does not end: what is not complete is reported. */
const MAX_BOUNDS = 60

const BLOB = 'blob'
const DEPARTED = 0
const LANDED = 1
const STORED = 2
const MESSAGE = 3
const WAKE = 4
const CHANGE = 5

interface Change {
  readonly kind: 'die' | 'noticed' | 'join'
  readonly nodes: readonly number[]
}

/** One piece on its way to a node that then held it. */
export interface PieceTrace {
  readonly node: number
  readonly from: number
  readonly startSeconds: number
  readonly endSeconds: number
}

/** Spreads one blob from the first node to all others and tells when each had it. */
export function simulate(
  scenario: Scenario,
  policy: Policy,
  boundSeconds: number,
  onPiece?: (trace: PieceTrace) => void
): Outcome {
  return new Simulation(scenario, policy, onPiece).run(boundSeconds * 1000 * MAX_BOUNDS)
}

class Simulation {
  readonly #scenario: Scenario
  readonly #policy: Policy
  readonly #onPiece: ((trace: PieceTrace) => void) | undefined
  readonly #random: Random
  readonly #queue = new EventQueue<Flow | Event | Change>()
  readonly #network: Network
  readonly #deciders: Decider[]
  readonly #flows: Map<string, Flow>[]
  readonly #held: Bits[]
  readonly #cpuFreeMs: Float64Array
  readonly #startMs: Float64Array
  readonly #doneMs: Float64Array
  readonly #up: Uint8Array
  readonly #dead: Uint8Array
  readonly #pieceBytes: number
  readonly #pieces: number
  readonly #indexOf = new Map<string, number>()
  readonly #ids: string[]
  #links = new Map<string, readonly string[]>() as ReadonlyMap<string, readonly string[]>
  #waiting = 0
  #messages = 0
  #now = 0

  constructor(
    scenario: Scenario,
    policy: Policy,
    onPiece: ((trace: PieceTrace) => void) | undefined
  ) {
    const { nodes, sizeBytes } = scenario
    this.#scenario = scenario
    this.#policy = policy
    this.#onPiece = onPiece
    this.#random = seededRandom(scenario.seed)
    this.#pieceBytes = policy.pieceBytes(sizeBytes)
    this.#pieces = pieceCountFor(sizeBytes, this.#pieceBytes)
    this.#ids = nodes.map((_, index) => `node-${index}`)
    for (const [index, id] of this.#ids.entries()) this.#indexOf.set(id, index)
    const rates = Float64Array.from(nodes, ({ bytesPerSecond }) => bytesPerSecond / 1000)
    this.#network = new Network(rates, LATENCY_MS, {
      departed: (atMs, flow) => this.#queue.push(atMs, DEPARTED, flow.from, flow),
      landed: (atMs, flow) => this.#queue.push(atMs, LANDED, flow.to, flow)
    })
    this.#deciders = nodes.map(() => policy.decider())
    this.#flows = nodes.map(() => new Map())
    this.#held = nodes.map(() => new Bits(this.#pieces))
    this.#cpuFreeMs = new Float64Array(nodes.length)
    this.#startMs = new Float64Array(nodes.length)
    this.#doneMs = new Float64Array(nodes.length).fill(Number.NaN)
    this.#up = new Uint8Array(nodes.length)
    this.#dead = new Uint8Array(nodes.length)
  }

  run(maxMs: number): Outcome {
    this.#begin()
    let events = 0
    const queue = this.#queue
    while (this.#waiting > 0 && queue.pop() && queue.timeMs <= maxMs) {
      events++
      this.#now = queue.timeMs
      this.#happen(queue.kind, queue.node, queue.subject)
    }
    return tally(this.#scenario, {
      network: this.#network,
      startMs: this.#startMs,
      doneMs: this.#doneMs,
      events,
      controlMessages: this.#messages
    })
  }

  #begin(): void {
    const { nodes } = this.#scenario
    const first: number[] = []
    const joins = new Map<number, number[]>()
    const deaths = new Map<number, number[]>()
    for (const [index, { joinsMs, diesMs }] of nodes.entries()) {
      if (joinsMs === undefined) first.push(index)
      else joins.set(joinsMs, [...(joins.get(joinsMs) ?? []), index])
      if (diesMs !== undefined) deaths.set(diesMs, [...(deaths.get(diesMs) ?? []), index])
      else if (index !== SEED) this.#waiting++
    }
    this.#join(first)
    for (const [atMs, group] of joins) {
      this.#queue.push(atMs, CHANGE, 0, { kind: 'join', nodes: group })
    }
    for (const [atMs, group] of deaths) {
      this.#queue.push(atMs, CHANGE, 0, { kind: 'die', nodes: group })
      this.#queue.push(atMs + DEAD_AFTER_MS, CHANGE, 0, { kind: 'noticed', nodes: group })
    }
  }

  #happen(kind: number, node: number, subject: Flow | Event | Change | undefined): void {
    switch (kind) {
      case DEPARTED:
        if (this.#dead[node] === 0) this.#depart(subject as Flow)
        break
      case LANDED:
        this.#land(subject as Flow)
        break
      case STORED:
        this.#store(subject as Flow)
        break
      case MESSAGE:
        this.#tell(node, subject as Event)
        break
      case WAKE:
        this.#tell(node, { kind: 'tick' })
        break
      default:
        this.#change(subject as Change)
    }
  }

  #tell(node: number, event: Event): void {
    if (this.#up[node] === 0) return
    for (const effect of this.#deciders[node]?.(event, this.#now, this.#random) ?? []) {
      this.#do(node, effect)
    }
  }

  #do(node: number, effect: Effect): void {
    switch (effect.kind) {
      case 'wake':
        this.#queue.push(Math.max(this.#now, effect.atMs), WAKE, node)
        break
      case 'serve':
        this.#serve(node, effect.peer, effect.piece)
        break
      case 'stop': {
        const key = `${effect.peer} ${effect.piece}`
        const flow = this.#flows[node]?.get(key)
        if (flow !== undefined) flow.state = 'stopped'
        this.#flows[node]?.delete(key)
        break
      }
      case 'complain':
      case 'complete':
        break
      default: {
        this.#messages++
        const to = this.#indexOf.get(effect.peer) ?? SEED
        const event = { ...effect, peer: this.#ids[node] ?? '' }
        this.#queue.push(this.#now + LATENCY_MS, MESSAGE, to, event)
      }
    }
  }

  #serve(node: number, peer: string, piece: number): void {
    const bytes = Math.min(this.#pieceBytes, this.#scenario.sizeBytes - piece * this.#pieceBytes)
    const to = this.#indexOf.get(peer) ?? SEED
    const flow = this.#network.send(node, to, BLOB, piece, bytes, this.#now)
    this.#flows[node]?.set(`${peer} ${piece}`, flow)
  }

  #depart(flow: Flow): void {
    const last = this.#network.departed(flow, this.#now)
    if (!last || flow.state === 'stopped') return
    const { from, to, blob, piece } = flow
    const peer = this.#ids[to] ?? ''
    this.#flows[from]?.delete(`${peer} ${piece}`)
    this.#tell(from, { kind: 'sent', peer, blob, piece })
  }

  #land(flow: Flow): void {
    const { from, to, piece } = flow
    if (this.#dead[to] === 1) return
    const last = this.#network.landed(flow, this.#now)
    const blob = BLOB
    if (flow.landed === 1 && flow.state === 'open') {
      this.#tell(to, { kind: 'started', peer: this.#ids[from] ?? '', blob, piece })
    }
    if (!last) return
    const cost = PIECE_COST_MS + (flow.chunkBytes * flow.chunks) / PIECE_BYTES_PER_MS
    const doneMs = Math.max(this.#now, this.#cpuFreeMs[to] ?? 0) + cost
    this.#cpuFreeMs[to] = doneMs
    this.#queue.push(doneMs, STORED, to, flow)
  }

  #store({ from, to, blob, piece, sinceMs }: Flow): void {
    const peer = this.#ids[from] ?? ''
    if (this.#scenario.nodes[from]?.role === 'corrupt') {
      this.#tell(to, { kind: 'wrong', peer, blob, piece })
      return
    }
    const held = this.#held[to]
    if (this.#up[to] === 1 && held?.add(piece)) {
      const [startSeconds, endSeconds] = [sinceMs / 1000, this.#now / 1000]
      this.#onPiece?.({ node: to, from, startSeconds, endSeconds })
      if (held.isFull) this.#complete(to)
    }
    this.#tell(to, { kind: 'arrived', peer, blob, piece })
  }

  #complete(node: number): void {
    this.#doneMs[node] = this.#now
    if (this.#scenario.nodes[node]?.diesMs === undefined) this.#waiting--
  }

  #change({ kind, nodes }: Change): void {
    if (kind === 'join') this.#join(nodes)
    else if (kind === 'noticed') this.#relink()
    else {
      for (const node of nodes) {
        this.#up[node] = 0
        this.#dead[node] = 1
      }
    }
  }

  #join(nodes: readonly number[]): void {
    const { sizeBytes } = this.#scenario
    for (const node of nodes) {
      this.#up[node] = 1
      this.#startMs[node] = this.#now
    }
    this.#relink()
    const start = { blob: BLOB, sizeBytes, pieceBytes: this.#pieceBytes, pieceCount: this.#pieces }
    for (const node of nodes) {
      if (node === SEED) {
        this.#tell(node, { kind: 'ingest', ...start, held: Bits.full(this.#pieces) })
        continue
      }
      const held = new Bits(this.#pieces)
      const event: Event = { kind: 'fetch', ...start, held, urgency: 'background', order: 0 }
      this.#queue.push(this.#now + GOSSIP_MS * this.#random(), MESSAGE, node, event)
    }
  }

  /** Gives every node its neighbours among those that are up and tells it what changed. */
  #relink(): void {
    const before = this.#links
    this.#links = this.#policy.neighbours(this.#ids.filter((_, index) => this.#up[index] === 1))
    for (const [id, neighbours] of this.#links) {
      const node = this.#indexOf.get(id) ?? SEED
      const old = new Set(before.get(id))
      const current = new Set(neighbours)
      for (const peer of old) if (!current.has(peer)) this.#tell(node, { kind: 'peer-down', peer })
      for (const peer of current) if (!old.has(peer)) this.#tell(node, { kind: 'peer-up', peer })
    }
  }
}
