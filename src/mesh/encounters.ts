import type { Connection, PeerInfo } from '@libp2p/interface'
import type { Clock } from '../clock.ts'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { formatAddress, fromMultiaddr } from './address.ts'
import type { Discovery } from './discovery.ts'
import type { Events } from './events.ts'
import type { Heart } from './heart.ts'
import { type Hello, memberOf } from './hello.ts'
import type { Life } from './life.ts'
import type { MeshEvents } from './mesh-options.ts'
import type { Neighbours } from './neighbours.ts'
import type { MeshNode } from './node.ts'
import type { OwnAddress } from './own-address.ts'
import type { Requests } from './requests.ts'
import type { Roster } from './roster.ts'

export interface EncountersOptions {
  readonly node: MeshNode
  /** Of this node. */
  readonly name: string
  readonly neighbours: Neighbours
  readonly roster: Roster
  readonly requests: Requests
  readonly heart: Heart
  readonly discovery: Discovery
  readonly address: OwnAddress
  readonly events: Events<MeshEvents>
  readonly clock: Clock
  readonly log: Log
}

/** What follows when a peer comes, goes, or is heard of by multicast. */
export class Encounters {
  readonly #options: EncountersOptions
  readonly #onClose = (event: CustomEvent<Connection>) => this.#parted(event.detail)
  readonly #onHeardOf = (event: CustomEvent<PeerInfo>) => this.#heardOf(event.detail)

  constructor(options: EncountersOptions) {
    this.#options = options
  }

  /** Listens to the libp2p node. */
  start(): void {
    const { node } = this.#options
    node.addEventListener('connection:close', this.#onClose)
    node.addEventListener('peer:discovery', this.#onHeardOf)
  }

  close(): void {
    const { node } = this.#options
    node.removeEventListener('connection:close', this.#onClose)
    node.removeEventListener('peer:discovery', this.#onHeardOf)
  }

  /** Both ends of a connection have said hello. Throws `PEER_FAILED` when it has closed since. */
  greeted(connection: Connection, hello: Hello): void {
    const { neighbours, roster, requests, heart, address, events, log } = this.#options
    const peer = connection.remotePeer.toString()
    // Its close event has passed: a link made now would never be removed.
    if (connection.status !== 'open') throw new StarlingError('PEER_FAILED', 'connection closed')
    // A peer that started anew has left its old connections behind, whether or not TCP noticed.
    for (const link of neighbours.linksOf(peer)) {
      if (link.boot !== hello.boot) link.connection.abort(new Error('the peer started anew'))
    }
    const { link, first } = neighbours.add(connection, hello)
    if (address.observed(hello.observedHost)) events.emit('address', address.toString())
    const life: Life = { boot: hello.boot, bootedAt: hello.bootedAt, sequence: 0 }
    roster.apply({ kind: 'hello', info: memberOf(peer, hello), life })
    if (first) {
      log.info({ peer, name: hello.name }, 'peer connected')
      this.#compareNames(peer, hello.name)
      events.emit('connected', peer)
      requests.connected(peer)
    }
    void heart.probe(link)
  }

  /** Of two nodes that live under one name, whichever is away for a moment is taken for replaced. */
  #compareNames(peer: string, theirs: string): void {
    const { name, log } = this.#options
    if (theirs !== name) return
    log.warn({ peer, name }, 'another live node has the name of this one: give one another --name')
  }

  #parted(connection: Connection): void {
    const { neighbours, roster, discovery, events, clock, log } = this.#options
    const link = neighbours.remove(connection, clock.monotonic())
    if (link === undefined || neighbours.isConnected(link.peer)) return
    const { peer } = link
    log.info({ peer, name: roster.nameOf(peer) }, 'peer disconnected')
    events.emit('disconnected', peer)
    discovery.hurry()
  }

  #heardOf({ multiaddrs }: PeerInfo): void {
    for (const address of multiaddrs.flatMap(each => fromMultiaddr(each) ?? [])) {
      this.#options.discovery.hear(formatAddress(address))
    }
  }
}
