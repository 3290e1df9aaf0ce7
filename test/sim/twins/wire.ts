import type { Connection } from '@libp2p/interface'
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr'
import { StarlingError } from '../../../src/errors.ts'
import { parseAddress, toMultiaddr } from '../../../src/mesh/address.ts'
import type { SimMesh } from './mesh.ts'
import type { Network } from './network.ts'

/** One end of a connection between two machines. */
export class WireEnd {
  readonly id: string
  readonly mesh: SimMesh
  readonly remotePeer: { toString(): string }
  readonly remoteAddr: Multiaddr
  status: 'open' | 'closed' = 'open'
  /** Who waits at this end for an answer from the other. */
  readonly waiting = new Set<(error: StarlingError) => void>()
  /** Ends when this end closes, for whoever works for the other. */
  readonly closing = new AbortController()
  readonly #network: Network
  #far: WireEnd | undefined

  private constructor(id: string, mesh: SimMesh, peer: SimMesh, network: Network) {
    this.id = id
    this.mesh = mesh
    this.remotePeer = { toString: () => peer.id }
    this.remoteAddr = addressOf(peer)
    this.#network = network
  }

  /** Both ends of a new connection. */
  static pair(id: string, a: SimMesh, b: SimMesh, network: Network): [WireEnd, WireEnd] {
    const [near, far] = [new WireEnd(id, a, b, network), new WireEnd(id, b, a, network)]
    near.#far = far
    far.#far = near
    return [near, far]
  }

  /** As the mesh's own code knows it, which asks no more of a connection than is here. */
  get connection(): Connection {
    return this as unknown as Connection
  }

  /** Does something at the other end once the message is there; a closed end closes this one. */
  send(arrive: (far: WireEnd) => void): void {
    const far = this.#far
    if (far === undefined || this.status === 'closed') return
    this.#network.deliver(this.mesh.host, far.mesh.host, () => {
      if (!far.mesh.isAlive() && !far.mesh.host.running) return
      if (far.mesh.isAlive() && far.status === 'open') arrive(far)
      else this.#network.deliver(far.mesh.host, this.mesh.host, () => this.close())
    })
  }

  abort(): void {
    this.close()
  }

  /** Closes this end, and the other once it hears of it. */
  close(): void {
    if (this.status === 'closed' || !this.mesh.isAlive()) return
    this.send(far => far.close())
    this.status = 'closed'
    const error = new StarlingError('PEER_FAILED', 'the connection closed')
    for (const fail of this.waiting) fail(error)
    this.waiting.clear()
    this.closing.abort(error)
    this.mesh.disconnected(this)
  }
}

/** Parsing is slow, and there are few addresses. */
const multiaddrs = new Map<string, Multiaddr>()

function addressOf({ host }: SimMesh): Multiaddr {
  const known = multiaddrs.get(host.address) ?? multiaddr(toMultiaddr(parseAddress(host.address)))
  multiaddrs.set(host.address, known)
  return known
}
