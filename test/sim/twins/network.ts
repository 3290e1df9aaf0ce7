import type { Host, World } from '../machine/world.ts'
import type { SimMesh } from './mesh.ts'

/** What carries messages from machine to machine, and does not always. */
export interface NetworkFaults {
  /** One way, and never less; messages overtake each other by up to `jitterMs`. */
  readonly latencyMs: number
  readonly jitterMs: number
  /** Of the gossip, the share that does not come. */
  readonly gossipLoss: number
}

/** How long a dialler waits for an answer that does not come. */
const DIAL_TIMEOUT_MS = 2_000

/** The network between the machines: each direction of each link can be cut for itself. */
export class Network {
  faults: NetworkFaults = { latencyMs: 0.2, jitterMs: 2, gossipLoss: 0 }
  readonly #world: World
  readonly #listeners = new Map<string, SimMesh>()
  readonly #cuts = new Set<string>()
  /** What was under way when its link was cut: the sender's system sends it again after it. */
  readonly #stalled = new Map<string, (() => void)[]>()

  constructor(world: World) {
    this.#world = world
  }

  listen(mesh: SimMesh): void {
    this.#listeners.set(mesh.host.address, mesh)
  }

  /** Whose process listens there, if one runs. */
  at(address: string): SimMesh | undefined {
    const mesh = this.#listeners.get(address)
    return mesh?.isAlive() ? mesh : undefined
  }

  addresses(): string[] {
    return [...this.#listeners.keys()]
  }

  isCut(from: Host, to: Host): boolean {
    return this.#cuts.has(way(from, to))
  }

  cut(from: Host, to: Host): void {
    this.#cuts.add(way(from, to))
  }

  heal(from: Host, to: Host): void {
    if (!this.#cuts.delete(way(from, to))) return
    const stalled = this.#stalled.get(way(from, to)) ?? []
    this.#stalled.delete(way(from, to))
    for (const arrive of stalled) this.#world.after(this.#delayMs(), to, arrive)
  }

  /** Brings something to a machine, as soon as the link is there and its process is not paused. */
  deliver(from: Host, to: Host, arrive: () => void): void {
    this.#world.after(this.#delayMs(), to, () => {
      if (!this.isCut(from, to)) return arrive()
      const stalled = this.#stalled.get(way(from, to)) ?? []
      this.#stalled.set(way(from, to), [...stalled, arrive])
    })
  }

  /** Dials an address; the mesh there once it can be spoken with, or `undefined`. */
  async reach(from: Host, address: string): Promise<SimMesh | undefined> {
    await this.#world.sleep(this.#delayMs())
    const mesh = this.at(address)
    if (mesh === undefined) return undefined
    const to = mesh.host
    if (!to.paused && !this.isCut(from, to) && !this.isCut(to, from)) return mesh
    await this.#world.sleep(DIAL_TIMEOUT_MS)
    return undefined
  }

  #delayMs(): number {
    return this.faults.latencyMs + this.#world.random() * this.faults.jitterMs
  }
}

function way(from: Host, to: Host): string {
  return `${from.name}>${to.name}`
}
