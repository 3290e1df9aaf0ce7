import { ip, linkNamespace, shapeDevice } from '../../bench/cluster/links.ts'

/** Its third number is this process's. */
const SUBNET = '10.214'

/**
 * Network namespaces on one bridge of this machine, each with an address of its own that the test
 * reaches too: machines as far as daemons can tell. Needs root and iproute2. `close()` removes all.
 */
export class Namespaces {
  readonly #count: number
  readonly #bridge: string
  /** Distinguishes those of tests that run at the same time. */
  readonly #third = process.pid % 250

  static async open(count: number): Promise<Namespaces> {
    const namespaces = new Namespaces(count)
    try {
      await namespaces.#make()
      return namespaces
    } catch (error) {
      await namespaces.close()
      throw error
    }
  }

  private constructor(count: number) {
    this.#count = count
    this.#bridge = `sl${process.pid}`
  }

  /** The name of one of them, counted from 0. */
  name(index: number): string {
    return `${this.#bridge}n${index}`
  }

  address(index: number): string {
    return `${SUBNET}.${this.#third}.${index + 2}`
  }

  /** Nothing from it reaches the others any more, nor an answer to what they send; the test does. */
  async isolate(index: number): Promise<void> {
    await this.#eachOther(index, 'add')
  }

  async heal(index: number): Promise<void> {
    await this.#eachOther(index, 'delete')
  }

  /** Makes a node's link no faster than that, both ways; bits per second. */
  async shape(index: number, bitsPerSecond: number): Promise<void> {
    await shapeDevice({ name: 'eth0', namespace: this.name(index) }, bitsPerSecond)
    await shapeDevice({ name: this.#port(index) }, bitsPerSecond)
  }

  async close(): Promise<void> {
    for (let index = 0; index < this.#count; index++) {
      await ip(undefined, `netns delete ${this.name(index)}`).catch(() => undefined)
    }
    await ip(undefined, `link delete ${this.#bridge}`).catch(() => undefined)
  }

  async #make(): Promise<void> {
    const bridge = { name: this.#bridge }
    await ip(undefined, `link add ${bridge.name} type bridge`)
    await ip(undefined, `addr add ${SUBNET}.${this.#third}.1/24 dev ${bridge.name}`)
    await ip(undefined, `link set ${bridge.name} up`)
    for (let index = 0; index < this.#count; index++) {
      await linkNamespace(this.name(index), `${this.address(index)}/24`, bridge, this.#port(index))
    }
  }

  /** The bridge's end of a node's link. */
  #port(index: number): string {
    return `${this.#bridge}v${index}`
  }

  async #eachOther(index: number, change: 'add' | 'delete'): Promise<void> {
    for (let other = 0; other < this.#count; other++) {
      if (other === index) continue
      await ip(this.name(index), `route ${change} blackhole ${this.address(other)}/32`)
    }
  }
}
