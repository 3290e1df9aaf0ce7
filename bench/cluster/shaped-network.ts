import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { StarlingError } from '../../src/errors.ts'
import { ownPrefix } from '../leftovers.ts'

const run = promisify(execFile)

/** Of the namespaces' own; nothing outside of them sees it. */
const SUBNET = '10.213.0'

/** What {@link SUBNET} has room for. */
const MAX_NODES = 250

/** As much as a link may be behind before it drops: some hundred kilobytes, as a switch port. */
const QUEUE_MS = 20

/** A bucket holds what the rate lets through in this time, so that the kernel's timers suffice. */
const BURST_MS = 4

/** The kernel hands over packets of this size joined, and the bucket must hold one of them. */
const MIN_BURST_BYTES = 64 * 1024

/**
 * Nodes on a switch, each behind a link of the same rate both ways: a network namespace for each
 * node, one for the bridge between them, and a veth pair shaped at both ends with tbf. Needs root
 * and Linux; throws `CONFIG_INVALID` when it cannot be set up, with nothing left of it.
 */
export class ShapedNetwork {
  readonly #namespaces: readonly string[]

  private constructor(namespaces: readonly string[]) {
    this.#namespaces = namespaces
  }

  static async open(nodes: number, bitsPerSecond: number): Promise<ShapedNetwork> {
    if (nodes > MAX_NODES) {
      throw new StarlingError('CONFIG_INVALID', `--nodes: at most ${MAX_NODES} with --link`)
    }
    const network = new ShapedNetwork(
      ['switch', ...Array.from({ length: nodes }, (_, index) => `node-${index + 1}`)].map(
        name => `${ownPrefix()}${name}`
      )
    )
    try {
      await network.#build(bitsPerSecond)
      return network
    } catch (error) {
      await network.close()
      throw new StarlingError('CONFIG_INVALID', `--link: ${wordsOf(error)}`, { cause: error })
    }
  }

  /** A command that runs another one on a node, counted from 0. */
  within(node: number): readonly string[] {
    return ['ip', 'netns', 'exec', this.#namespaceOf(node)]
  }

  /** The address of a node, counted from 0. */
  host(node: number): string {
    return `${SUBNET}.${node + 1}`
  }

  /** Takes all of it down; what still runs on the nodes loses its network when it ends. */
  async close(): Promise<void> {
    for (const namespace of this.#namespaces) {
      await run('ip', ['netns', 'delete', namespace]).catch(() => undefined)
    }
  }

  async #build(bitsPerSecond: number): Promise<void> {
    const [bridge = '', ...nodes] = this.#namespaces
    await ip(`netns add ${bridge}`)
    await ip(`-n ${bridge} link add switch type bridge`)
    await ip(`-n ${bridge} link set switch up`)
    for (const [index, node] of nodes.entries()) {
      const port = `port${index + 1}`
      await ip(`netns add ${node}`)
      await ip(`-n ${node} link set lo up`)
      await ip(`-n ${node} link add eth0 type veth peer name ${port} netns ${bridge}`)
      await ip(`-n ${bridge} link set ${port} master switch up`)
      await ip(`-n ${node} address add ${this.host(index)}/24 dev eth0`)
      await ip(`-n ${node} link set eth0 up`)
      await shape(node, 'eth0', bitsPerSecond)
      await shape(bridge, port, bitsPerSecond)
    }
  }

  #namespaceOf(node: number): string {
    const namespace = this.#namespaces[node + 1]
    if (namespace === undefined) throw new RangeError(`there is no node ${node}`)
    return namespace
  }
}

function shape(namespace: string, device: string, bitsPerSecond: number): Promise<void> {
  const burst = Math.max(MIN_BURST_BYTES, Math.ceil((bitsPerSecond / 8 / 1000) * BURST_MS))
  const tbf = `tbf rate ${bitsPerSecond}bit burst ${burst}b latency ${QUEUE_MS}ms`
  return command('tc', `-n ${namespace} qdisc add dev ${device} root ${tbf}`)
}

function ip(line: string): Promise<void> {
  return command('ip', line)
}

async function command(name: string, line: string): Promise<void> {
  await run(name, line.split(' '))
}

function wordsOf(error: unknown): string {
  const { code, stderr } = error as { code?: unknown; stderr?: string }
  if (code === 'ENOENT') return 'ip and tc are needed (iproute2, on Linux)'
  const said = stderr?.trim() || String(error)
  return process.getuid?.() === 0 ? said : `needs root, or --link none (${said})`
}
