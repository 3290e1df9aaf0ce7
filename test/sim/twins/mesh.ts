import type { Connection } from '@libp2p/interface'
import { StarlingError } from '../../../src/errors.ts'
import { formatAddress } from '../../../src/mesh/address.ts'
import type { Beat } from '../../../src/mesh/beat.ts'
import { type DialOutcome, Discovery } from '../../../src/mesh/discovery.ts'
import { Events } from '../../../src/mesh/events.ts'
import { type Hello, memberOf } from '../../../src/mesh/hello.ts'
import { parseJoin } from '../../../src/mesh/join.ts'
import { type MemberInfo, PROTOCOL } from '../../../src/mesh/member.ts'
import { tickMs } from '../../../src/mesh/membership.ts'
import type { Mesh } from '../../../src/mesh/mesh.ts'
import type { MeshEvents, RequestHandler } from '../../../src/mesh/mesh-options.ts'
import { Neighbours } from '../../../src/mesh/neighbours.ts'
import type { PeerView } from '../../../src/mesh/peer-view.ts'
import { Roster } from '../../../src/mesh/roster.ts'
import type { Host } from '../machine/world.ts'
import type { Face } from './blobs.ts'
import { Exchange } from './exchange.ts'
import { Gossip } from './gossip.ts'
import type { SimMeshOptions } from './mesh-options.ts'
import type { Network } from './network.ts'
import { WireEnd } from './wire.ts'

/** As in the mesh: every 2 s, or three to a dead-after. */
const MAX_BEAT_MS = 2_000

/**
 * What stands in for the mesh: its own membership, roster, neighbours and dial loop, over simulated
 * connections in place of libp2p.
 */
export class SimMesh implements Omit<Face<Mesh>, 'channel' | 'isPinned' | 'close'> {
  readonly id: string
  readonly boot: string
  readonly host: Host
  /** Of the process that it belongs to. */
  readonly epoch: number
  readonly exchange: Exchange
  readonly gossip: Gossip
  readonly #options: SimMeshOptions
  readonly #neighbours = new Neighbours()
  readonly #events = new Events<MeshEvents>()
  readonly #roster: Roster
  readonly #discovery: Discovery
  readonly #bootedAt: number
  readonly #ends = new Set<WireEnd>()
  #beats = 0
  #dials = 0

  constructor(options: SimMeshOptions) {
    const { world, host, id, boot, network, clock, random, log, deadAfterMs, forgetAfterMs } =
      options
    this.#options = options
    this.id = id
    this.boot = boot
    this.host = host
    this.epoch = host.epoch
    this.exchange = new Exchange(this.#neighbours)
    this.gossip = new Gossip(this, { world, network, neighbours: this.#neighbours })
    this.#bootedAt = Math.max(0, Math.floor(clock.now()))
    this.#roster = new Roster({
      self: { id, name: host.name, boot, bootedAt: this.#bootedAt, sequence: 0 },
      limits: { deadAfterMs, forgetAfterMs },
      neighbours: this.#neighbours,
      events: this.#events,
      ...{ clock, log }
    })
    this.#discovery = new Discovery({
      joins: options.join.map(parseJoin),
      wanted: () => this.#roster.wanted(),
      reached: () => this.#neighbours.addresses(),
      isConnected: peer => this.#neighbours.isConnected(peer),
      dial: address => this.#dial(network, formatAddress(address)),
      resolve: options.resolve,
      ...{ clock, random, log }
    })
  }

  get address(): string {
    return this.host.address
  }

  get member(): MemberInfo {
    return memberOf(this.id, this.#hello())
  }

  /** Whether the process that it belongs to runs still. */
  isAlive(): boolean {
    return this.host.running && this.host.epoch === this.epoch
  }

  async start(): Promise<void> {
    const { network, deadAfterMs } = this.#options
    network.listen(this)
    setInterval(() => this.#beat(), Math.min(MAX_BEAT_MS, deadAfterMs / 3))
    const age = () => this.#age(this.#roster.tick())
    setInterval(age, tickMs({ deadAfterMs }))
    this.#discovery.start()
  }

  peers(): readonly PeerView[] {
    return this.#roster.peers()
  }

  peer(id: string): PeerView | undefined {
    return this.#roster.peer(id)
  }

  learnMembers(members: readonly MemberInfo[]): void {
    this.#roster.apply({ kind: 'learn', members })
    this.#discovery.hurry()
  }

  forget(id: string): void {
    this.#neighbours.unpin(id)
    this.#roster.apply({ kind: 'forget', id })
  }

  discovery() {
    const state = this.#discovery.state()
    const known = this.peers().some(peer => peer.connected || peer.state !== 'gone')
    return { ...state, alone: !known && (!state.configured || state.answered) }
  }

  on<Name extends keyof MeshEvents>(
    event: Name,
    listener: (...values: MeshEvents[Name]) => void
  ): () => void {
    return this.#events.on(event, listener)
  }

  handle(protocol: string, _maxBytes: number, handler: RequestHandler): void {
    this.exchange.handle(protocol, handler)
  }

  async request(
    peer: string,
    protocol: string,
    payload: Uint8Array,
    { signal }: { signal: AbortSignal }
  ): Promise<Uint8Array> {
    const end = this.#endOf(this.#neighbours.connectionTo(peer))
    if (end === undefined) throw new StarlingError('PEER_FAILED', 'the peer is not connected')
    return await this.exchange.request(end, protocol, payload, signal)
  }

  publish(payload: Uint8Array): void {
    this.gossip.publish(payload)
  }

  onGossip(listener: (peer: string, payload: Uint8Array) => void): () => void {
    return this.gossip.onHeard(listener)
  }

  /** One connection to each neighbour. */
  firstEnds(): WireEnd[] {
    const peers = new Set(this.#neighbours.links().map(({ peer }) => peer))
    return [...peers].flatMap(peer => this.#endOf(this.#neighbours.connectionTo(peer)) ?? [])
  }

  /** Breaks the connections to a peer. */
  reset(peer: string): void {
    for (const end of [...this.#ends]) if (end.remotePeer.toString() === peer) end.close()
  }

  /** The system closes what a process leaves open that was killed. */
  hangUp(): void {
    for (const end of this.#ends) end.send(far => far.close())
  }

  /** As in the mesh, when libp2p says that a connection closed. */
  disconnected(end: WireEnd): void {
    this.#ends.delete(end)
    const now = this.#options.clock.monotonic()
    const link = this.#neighbours.remove(end.connection, now)
    if (link === undefined || this.#neighbours.isConnected(link.peer)) return
    this.#events.emit('disconnected', link.peer)
    this.#discovery.hurry()
  }

  async #dial(network: Network, address: string): Promise<DialOutcome> {
    if (address === this.address) return { kind: 'self' }
    const there = await network.reach(this.host, address)
    if (there === undefined) return { kind: 'failed', error: new Error('nobody answers') }
    const name = `${this.boot}-${++this.#dials}`
    const [near, far] = WireEnd.pair(name, this, there, network)
    return await new Promise(resolve => {
      near.waiting.add(error => resolve({ kind: 'failed', error }))
      near.send(() => {
        there.#greeted(far, this.#hello())
        far.send(() => {
          this.#greeted(near, there.#hello())
          near.waiting.clear()
          resolve({ kind: 'peer', id: there.id })
        })
      })
      const timeout = AbortSignal.timeout(this.#options.deadAfterMs)
      timeout.addEventListener(
        'abort',
        () => near.waiting.size > 0 && this.#isNew(near) && near.close()
      )
    })
  }

  #isNew(end: WireEnd): boolean {
    return this.#neighbours.link(end.connection) === undefined
  }

  /** As in the mesh, once a hello came. */
  #greeted(end: WireEnd, hello: Hello): void {
    const peer = end.remotePeer.toString()
    for (const link of this.#neighbours.linksOf(peer)) {
      if (link.boot !== hello.boot) this.#endOf(link.connection)?.close()
    }
    this.#ends.add(end)
    const { first } = this.#neighbours.add(end.connection, hello)
    const life = { boot: hello.boot, bootedAt: hello.bootedAt, sequence: 0 }
    this.#roster.apply({ kind: 'hello', info: memberOf(peer, hello), life })
    if (first) this.#events.emit('connected', peer)
    this.#probe(end)
  }

  #beat(): void {
    for (const link of this.#neighbours.links()) {
      const end = this.#endOf(link.connection)
      if (end !== undefined) this.#probe(end)
    }
    const beat = this.#own()
    this.gossip.spread(far => far.#roster.apply({ kind: 'beat', beat, path: 'relayed' }))
  }

  #probe(end: WireEnd): void {
    const link = this.#neighbours.link(end.connection)
    if (link === undefined || link.beating) return
    link.beating = true
    const beat = this.#own()
    end.send(far => {
      far.mesh.#hear(far, beat)
      const answer = far.mesh.#own()
      far.send(() => {
        link.beating = false
        this.#hear(end, answer)
      })
    })
  }

  #hear(end: WireEnd, beat: Beat): void {
    const link = this.#neighbours.link(end.connection)
    if (link === undefined) return
    link.silentMs = 0
    this.#roster.apply({ kind: 'beat', beat, path: 'direct' })
  }

  #age(passedMs: number): void {
    for (const link of this.#neighbours.links()) {
      link.silentMs += passedMs
      if (link.silentMs > this.#options.deadAfterMs) this.#endOf(link.connection)?.close()
    }
  }

  #own(): Beat {
    this.#beats += 1
    const { id, boot } = this
    const sequence = this.#beats
    return { ...this.#options.vitals(), id, boot, bootedAt: this.#bootedAt, sequence }
  }

  #endOf(connection: Connection | undefined): WireEnd | undefined {
    if (connection === undefined) return undefined
    for (const end of this.#ends) if (end.id === connection.id) return end
    return undefined
  }

  #hello(): Hello {
    return {
      protocol: PROTOCOL,
      name: this.host.name,
      mesh: [this.address],
      transfer: this.address,
      hold: 'all',
      boot: this.boot,
      bootedAt: this.#bootedAt,
      fingerprint: this.id,
      root: this.#options.vitals().root,
      observedHost: this.address
    }
  }
}
