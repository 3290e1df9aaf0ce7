import type { Neighbours } from '../../../src/mesh/neighbours.ts'
import type { World } from '../machine/world.ts'
import type { SimMesh } from './mesh.ts'
import type { Network } from './network.ts'

type Listener = (peer: string, payload: Uint8Array) => void

/** What one simulated mesh tells all others; some of it does not come. */
export class Gossip {
  readonly #mesh: SimMesh
  readonly #world: World
  readonly #network: Network
  readonly #neighbours: Pick<Neighbours, 'isConnected'>
  readonly #listeners = new Set<Listener>()

  constructor(
    mesh: SimMesh,
    options: {
      readonly world: World
      readonly network: Network
      readonly neighbours: Pick<Neighbours, 'isConnected'>
    }
  ) {
    this.#mesh = mesh
    this.#world = options.world
    this.#network = options.network
    this.#neighbours = options.neighbours
  }

  publish(payload: Uint8Array): void {
    this.spread(far => far.gossip.#hear(this.#mesh.id, payload))
  }

  onHeard(listener: Listener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** To every neighbour, and through each to those who are none. */
  spread(hear: (far: SimMesh) => void): void {
    const isLost = () => this.#world.chance(this.#network.faults.gossipLoss)
    for (const end of this.#mesh.firstEnds()) {
      if (isLost()) continue
      end.send(far => {
        hear(far.mesh)
        for (const next of far.mesh.firstEnds()) {
          const peer = next.remotePeer.toString()
          if (peer === this.#mesh.id || this.#neighbours.isConnected(peer) || isLost()) continue
          next.send(further => hear(further.mesh))
        }
      })
    }
  }

  #hear(origin: string, payload: Uint8Array): void {
    for (const listener of this.#listeners) listener(origin, payload)
  }
}
