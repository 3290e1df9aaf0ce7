import { randomBytes } from 'node:crypto'
import { StarlingError } from '../errors.ts'
import { cannotListen } from '../listen-error.ts'
import { formatAddress } from './address.ts'
import type { Channel, ChannelLimits, MessageHandler } from './channel.ts'
import { Discovery } from './discovery.ts'
import { Encounters } from './encounters.ts'
import { Events } from './events.ts'
import { Gossip, type GossipKind } from './gossip.ts'
import { Greeter } from './greeter.ts'
import { Heart } from './heart.ts'
import { type Hello, memberOf } from './hello.ts'
import { openIdentity } from './identity.ts'
import { parseJoin } from './join.ts'
import { type MemberInfo, PROTOCOL } from './member.ts'
import { tickMs } from './membership.ts'
import type { MeshDiscovery, MeshEvents, MeshOptions, RequestHandler } from './mesh-options.ts'
import { Neighbours } from './neighbours.ts'
import { createNode, dial, listeningPort, type MeshNode } from './node.ts'
import { OwnAddress } from './own-address.ts'
import type { PeerView } from './peer-view.ts'
import { Protector } from './protector.ts'
import { Refusals } from './refusals.ts'
import { Requests } from './requests.ts'
import { Roster } from './roster.ts'
import type { CallOptions } from './rpc.ts'

/** The members of a cluster as this node sees them, and the ways to speak with them. */
export class Mesh {
  readonly id: string
  /** Random, new at each start. */
  readonly boot: string
  readonly #options: MeshOptions
  readonly #node: MeshNode
  readonly #neighbours = new Neighbours()
  readonly #events = new Events<MeshEvents>()
  readonly #closing = new AbortController()
  readonly #greeter: Greeter
  readonly #heart: Heart
  readonly #gossip: Gossip
  readonly #discovery: Discovery
  readonly #roster: Roster
  readonly #address: OwnAddress
  readonly #bootedAt: number
  readonly #requests: Requests
  readonly #encounters: Encounters
  #timer: NodeJS.Timeout | undefined
  #closed: Promise<void> | undefined

  /** Reads or makes the identity; nothing listens or dials before {@link start}. */
  static async open(options: MeshOptions): Promise<Mesh> {
    const joins = options.join.map(parseJoin)
    const identity = await openIdentity(options.dataDir, options.name, options.log)
    const refusals = new Refusals(options.clock, options.log)
    const protector = new Protector({
      keys: () => options.secrets.keys(),
      onFailed: (connection, failure) => refusals.say(connection, failure),
      ...(options.onBytes && { onBytes: options.onBytes }),
      ...(options.handshakeTimeoutMs === undefined ? {} : { timeoutMs: options.handshakeTimeoutMs })
    })
    const node = await createNode({
      privateKey: identity.privateKey,
      listen: options.listen,
      protector,
      mdns: joins.some(join => join.kind === 'mdns')
    })
    const mesh = new Mesh(options, identity.id, node)
    await mesh.#greeter.open()
    await mesh.#heart.open()
    return mesh
  }

  private constructor(options: MeshOptions, id: string, node: MeshNode) {
    const { log, clock, deadAfterMs, forgetAfterMs, name } = options
    const signal = this.#closing.signal
    this.#options = options
    this.#node = node
    this.id = id
    this.boot = randomBytes(16).toString('hex')
    this.#bootedAt = clock.now()
    this.#address = new OwnAddress(options.listen, options.advertise)
    const self = { id, name, boot: this.boot, bootedAt: this.#bootedAt, sequence: 0 }
    this.#roster = new Roster({
      self,
      limits: { deadAfterMs, forgetAfterMs },
      neighbours: this.#neighbours,
      events: this.#events,
      clock,
      log
    })
    this.#requests = new Requests({ node, neighbours: this.#neighbours, signal, log })
    this.#gossip = new Gossip(
      node.services.gossip,
      (origin, kind, payload) => this.#hearGossip(origin, kind, payload),
      log
    )
    this.#greeter = new Greeter({
      node,
      neighbours: this.#neighbours,
      hello: () => this.#ownHello(),
      onGreeted: (connection, hello) => this.#encounters.greeted(connection, hello),
      signal,
      log
    })
    this.#heart = new Heart({
      node,
      neighbours: this.#neighbours,
      self,
      vitals: options.self,
      deadAfterMs,
      gossip: beat => this.#gossip.publish('beat', beat),
      isGossipNeeded: () => this.#roster.isApart(),
      rivalOf: (peer, boot) => this.#roster.rivalOf(peer, boot),
      onTwin: life => this.#roster.apply({ kind: 'twin', life }),
      onBeat: (beat, path) => this.#roster.apply({ kind: 'beat', beat, path }),
      signal,
      log
    })
    this.#discovery = new Discovery({
      joins: options.join.map(parseJoin),
      wanted: () => this.#roster.wanted(),
      reached: () => this.#neighbours.addresses(),
      isConnected: peer => this.#neighbours.isConnected(peer),
      dial: address => dial(node, address, signal),
      ...(options.resolve === undefined ? {} : { resolve: options.resolve }),
      clock,
      random: options.random,
      log
    })
    this.#encounters = new Encounters({
      ...{ node, name, log, clock },
      neighbours: this.#neighbours,
      roster: this.#roster,
      requests: this.#requests,
      heart: this.#heart,
      discovery: this.#discovery,
      address: this.#address,
      events: this.#events
    })
  }

  /** Where peers dial this node, `host:port`; the port is known once started. */
  get address(): string {
    return this.#address.toString()
  }

  /** What the other members should know of this node. */
  get member(): MemberInfo {
    return memberOf(this.id, this.#ownHello())
  }

  /** Listens and dials. Set the handlers before. Throws when the port cannot be had. */
  async start(): Promise<void> {
    await this.#requests.ready()
    this.#encounters.start()
    try {
      await this.#node.start()
    } catch (cause) {
      throw cannotListen('--mesh', formatAddress(this.#options.listen), cause)
    }
    this.#address.bound(listeningPort(this.#node) ?? this.#options.listen.port)
    this.#gossip.start()
    this.#heart.start()
    this.#timer = setInterval(() => this.#heart.age(this.#roster.tick()), tickMs(this.#options))
    this.#discovery.start()
  }

  /** All members but this node, those that are gone included. */
  peers(): readonly PeerView[] {
    return this.#roster.peers()
  }

  peer(id: string): PeerView | undefined {
    return this.#roster.peer(id)
  }

  /** Member records say that these exist: they are dialled until they are gone. */
  learnMembers(members: readonly MemberInfo[]): void {
    this.#roster.apply({ kind: 'learn', members })
    this.#discovery.hurry()
  }

  /** This member is gone; it may return in person. */
  forget(id: string): void {
    this.#neighbours.unpin(id)
    this.#roster.apply({ kind: 'forget', id })
  }

  /** The peer whose transfer certificate this is, while it is connected or was 60 s ago. */
  isPinned(fingerprint: string): string | undefined {
    return this.#neighbours.holderOf(fingerprint, this.#options.clock.monotonic())
  }

  discovery(): MeshDiscovery {
    const state = this.#discovery.state()
    const known = this.peers().some(peer => peer.connected || peer.state !== 'gone')
    return { ...state, alone: !known && (!state.configured || state.answered) }
  }

  /** Asks a connected peer. Throws `PEER_FAILED`; the signal is the only deadline. */
  request(
    peer: string,
    protocol: string,
    payload: Uint8Array,
    options: CallOptions
  ): Promise<Uint8Array> {
    return this.#requests.request(peer, protocol, payload, options)
  }

  /** Answers requests of up to `maxBytes`. What the handler throws is told to the peer in words. */
  handle(protocol: string, maxBytes: number, handler: RequestHandler): void {
    this.#requests.handle(protocol, maxBytes, handler)
  }

  /** Messages in order, to and from every connected peer. To be made before {@link start}. */
  channel(protocol: string, limits: ChannelLimits, handler: MessageHandler): Channel {
    return this.#requests.channel(protocol, limits, handler)
  }

  /** Spreads up to 64 KiB to all nodes, most of the time. */
  publish(payload: Uint8Array): void {
    this.#gossip.publish('data', payload)
  }

  /** Listens to what others publish; the peer is the one that published it. */
  onGossip(listener: (peer: string, payload: Uint8Array) => void): () => void {
    return this.#events.on('gossip', listener)
  }

  on<Name extends keyof MeshEvents>(
    event: Name,
    listener: (...values: MeshEvents[Name]) => void
  ): () => void {
    return this.#events.on(event, listener)
  }

  /** Leaves: ends all loops, connections and listeners. May be called again. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer)
    this.#heart.close()
    this.#gossip.close()
    this.#greeter.close()
    this.#closing.abort(new StarlingError('CLOSED', 'the mesh is closing'))
    await this.#discovery.close()
    await this.#node.stop()
    this.#encounters.close()
  }

  #hearGossip(origin: string, kind: GossipKind, payload: Uint8Array): void {
    if (kind === 'beat') this.#heart.hearGossip(origin, payload)
    else this.#events.emit('gossip', origin, payload)
  }

  #ownHello(): Omit<Hello, 'observedHost'> {
    const { name, self, hello } = this.#options
    return {
      ...hello(),
      protocol: PROTOCOL,
      ...{ name, boot: this.boot, bootedAt: this.#bootedAt },
      mesh: [this.address],
      root: self().root
    }
  }
}
