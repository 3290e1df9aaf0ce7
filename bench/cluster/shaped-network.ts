import { StarlingError } from '../../src/errors.ts'
import { ownPrefix } from '../leftovers.ts'
import { ip, linkNamespace, shapeDevice } from './links.ts'

/** Of the namespaces' own; nothing outside of them sees it. */
const SUBNET = '10.213.0'

/** What {@link SUBNET} has room for. */
const MAX_NODES = 250

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
      await ip(undefined, `netns delete ${namespace}`).catch(() => undefined)
    }
  }

  async #build(bitsPerSecond: number): Promise<void> {
    const [namespace = '', ...nodes] = this.#namespaces
    const bridge = { name: 'switch', namespace }
    await ip(undefined, `netns add ${namespace}`)
    await ip(namespace, 'link add switch type bridge')
    await ip(namespace, 'link set switch up')
    for (const [index, node] of nodes.entries()) {
      const address = `${this.host(index)}/24`
      const port = await linkNamespace(node, address, bridge, `port${index + 1}`)
      await shapeDevice({ name: 'eth0', namespace: node }, bitsPerSecond)
      await shapeDevice(port, bitsPerSecond)
    }
  }

  #namespaceOf(node: number): string {
    const namespace = this.#namespaces[node + 1]
    if (namespace === undefined) throw new RangeError(`there is no node ${node}`)
    return namespace
  }
}

function wordsOf(error: unknown): string {
  const { code, stderr } = error as { code?: unknown; stderr?: string }
  if (code === 'ENOENT') return 'ip and tc are needed (iproute2, on Linux)'
  const said = stderr?.trim() || String(error)
  return process.getuid?.() === 0 ? said : `needs root, or --link none (${said})`
}
