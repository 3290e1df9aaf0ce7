import type { Digest } from '../../src/digest.ts'
import { Client, type Place } from './client.ts'
import { advance, collectAll, converge } from './convergence.ts'
import { type Change, History } from './history.ts'
import { imageOf, type SimImage } from './images.ts'
import { type Host, World } from './machine/world.ts'
import type { SimNode } from './node.ts'
import { Promises } from './promises.ts'
import { DEFAULT_SETTINGS, type Settings } from './settings.ts'
import { Simulation } from './simulation.ts'

/** A simulated cluster in the hands of a test: what happens is written down, not drawn by lot. */
export class Stage {
  readonly world: World
  readonly simulation: Simulation
  readonly history = new History()
  readonly promises: Promises
  readonly #client: Client
  readonly #images = new Map<Digest, SimImage>()

  private constructor(seed: number, settings: Partial<Settings>) {
    this.world = new World(seed)
    const all = { ...DEFAULT_SETTINGS, ...settings }
    this.simulation = new Simulation({ world: this.world, settings: all })
    this.promises = new Promises(this.simulation, this.history)
    this.#client = new Client(this.simulation, this.history, this.promises)
  }

  /** A cluster whose nodes are all ready. The seed decides how long messages and syncs take. */
  static async ready(seed: number, settings: Partial<Settings> = {}): Promise<Stage> {
    const stage = new Stage(seed, settings)
    for (const host of stage.simulation.hosts) stage.simulation.start(host)
    await stage.until('all are ready', () => stage.#areReady())
    return stage
  }

  host(number: number): Host {
    const host = this.simulation.hosts[number - 1]
    if (host === undefined) throw new RangeError(`no node ${number}`)
    return host
  }

  node(number: number): SimNode {
    const node = this.simulation.nodeOf(this.host(number))
    if (node === undefined) throw new RangeError(`node ${number} does not run`)
    return node
  }

  /** An image of its own, with a layer that others have too. */
  image(name: string): SimImage {
    const image = imageOf(name, ['shared', name])
    this.#images.set(image.digest, image)
    return image
  }

  async push(number: number, tag: string, name: string): Promise<Change> {
    const node = this.node(number)
    return await this.asked(node, () => this.#client.push(node, placeOf(tag), this.image(name)))
  }

  async untag(number: number, tag: string): Promise<void> {
    const node = this.node(number)
    await this.asked(node, () => this.#client.untag(node, placeOf(tag), this.#images))
  }

  async unlink(number: number, tag: string): Promise<void> {
    const node = this.node(number)
    await this.asked(node, () => this.#client.unlink(node, placeOf(tag), this.#images))
  }

  async read(number: number, tag: string): Promise<void> {
    const node = this.node(number)
    await this.asked(node, () => this.#client.read(node, placeOf(tag)))
  }

  /** Cuts the nodes of these numbers off from all others, both ways. */
  split(...numbers: readonly number[]): void {
    const { hosts } = this.simulation
    const apart = numbers.map(number => this.host(number))
    for (const a of apart) {
      for (const b of hosts.filter(host => !apart.includes(host))) {
        this.simulation.cut(a, b)
        this.simulation.cut(b, a)
      }
    }
  }

  async advance(ms: number): Promise<void> {
    await advance(this.simulation, this.promises, ms)
    this.#check()
  }

  /** Ends all faults, and sees that all agree and that nothing was lost or came back. */
  async converge(): Promise<void> {
    await converge(this.simulation, this.history, this.promises)
    this.#check()
  }

  async collectAll(): Promise<void> {
    await collectAll(this.simulation, this.promises)
    this.#check()
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    const endMs = this.world.nowMs + MAX_WAIT_MS
    while (!isSo()) {
      if (this.world.nowMs > endMs) throw new Error(`not in time: ${what}`)
      await this.advance(100)
    }
  }

  isReady(number: number): boolean {
    return this.simulation.nodeOf(this.host(number))?.cluster.readiness().ready === true
  }

  /** Does something on a node, and lets time pass until it is done. */
  async asked<Answer>(node: SimNode, ask: () => Promise<Answer>): Promise<Answer> {
    const done: { answer?: Answer } = {}
    let failure: unknown
    this.world.after(0, node.host, () => {
      ask().then(
        answer => {
          done.answer = answer
        },
        error => {
          failure = error ?? new Error('failed')
        }
      )
    })
    await this.until('an answer', () => 'answer' in done || failure !== undefined)
    if (failure !== undefined) throw failure
    return done.answer as Answer
  }

  #areReady(): boolean {
    const { nodes, hosts } = this.simulation
    return nodes.length === hosts.length && nodes.every(node => node.cluster.readiness().ready)
  }

  #check(): void {
    if (this.promises.broken !== undefined) throw new Error(this.promises.broken)
  }
}

/** Twice as long as the slowest thing that is waited for by itself. */
const MAX_WAIT_MS = 150_000

function placeOf(tag: string): Place {
  return { repository: 'app', tag }
}
