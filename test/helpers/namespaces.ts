import { run } from './command.ts'

const SUBNET = '10.214'
/** As much as the kernel hands over at once; a smaller bucket would never let it through. */
const BURST_BYTES = 128 * 1024
/** How far a link may be behind before it drops. */
const QUEUE_MS = 20

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
    await this.#eachOther(index, address => ['add', 'blackhole', `${address}/32`])
  }

  async heal(index: number): Promise<void> {
    await this.#eachOther(index, address => ['del', 'blackhole', `${address}/32`])
  }

  /** Makes a node's link no faster than that, both ways; bits per second. */
  async shape(index: number, bitsPerSecond: number): Promise<void> {
    const tbf = ['tbf', 'rate', `${bitsPerSecond}bit`, 'burst', `${BURST_BYTES}b`]
    const rule = ['root', ...tbf, 'latency', `${QUEUE_MS}ms`]
    await run('tc', ['-n', this.name(index), 'qdisc', 'replace', 'dev', 'eth0', ...rule])
    await run('tc', ['qdisc', 'replace', 'dev', this.#port(index), ...rule])
  }

  async close(): Promise<void> {
    for (let index = 0; index < this.#count; index++) {
      await run('ip', ['netns', 'del', this.name(index)]).catch(() => undefined)
    }
    await run('ip', ['link', 'del', this.#bridge]).catch(() => undefined)
  }

  async #make(): Promise<void> {
    await run('ip', ['link', 'add', this.#bridge, 'type', 'bridge'])
    await run('ip', ['addr', 'add', `${SUBNET}.${this.#third}.1/24`, 'dev', this.#bridge])
    await run('ip', ['link', 'set', this.#bridge, 'up'])
    for (let index = 0; index < this.#count; index++) {
      const [name, end] = [this.name(index), this.#port(index)]
      await run('ip', ['netns', 'add', name])
      await run('ip', ['link', 'add', end, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name])
      await run('ip', ['link', 'set', end, 'master', this.#bridge, 'up'])
      const inside = (...args: string[]) => run('ip', ['-n', name, ...args])
      await inside('addr', 'add', `${this.address(index)}/24`, 'dev', 'eth0')
      await inside('link', 'set', 'eth0', 'up')
      await inside('link', 'set', 'lo', 'up')
    }
  }

  /** The bridge's end of a node's link. */
  #port(index: number): string {
    return `${this.#bridge}v${index}`
  }

  async #eachOther(index: number, route: (address: string) => string[]): Promise<void> {
    for (let other = 0; other < this.#count; other++) {
      if (other === index) continue
      await run('ip', ['-n', this.name(index), 'route', ...route(this.address(other))])
    }
  }
}
