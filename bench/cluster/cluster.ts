import { randomBytes } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { NodeProcess } from '../../src/demo/node-process.ts'
import type { Digest } from '../../src/digest.ts'
import { blobPath, layoutOf } from '../../src/store/layout.ts'
import type { LocalNode } from './node.ts'
import { ShapedNetwork } from './shaped-network.ts'
import { lineRate } from './task.ts'

/** Starting takes a second or two for each node on one core. */
const READY_TIMEOUT_MS = 120_000

/** The file system is the bench's own, and reading again what is held would disturb. */
const FLAGS = ['--max-disk', '95%', '--scrub-rate', '0']

/** Long enough for TCP to reach its rate, and for the buckets of the shaping not to count. */
const LINE_SECONDS = 4
const LOOPBACK_LINE_BYTES = 1024 ** 3

export interface ClusterOptions {
  readonly nodes: number
  /** So many more may be added; none unless told otherwise. */
  readonly spare?: number
  /** Bits per second of the link of each node, or `none` for the loopback interface. */
  readonly link: number | 'none'
  /** Where the nodes keep their data, each in a directory of its own. */
  readonly dir: string
}

/** Real nodes, one process each, with their own network if they are asked to have links. */
export class Cluster {
  readonly #link: number | 'none'
  readonly #network: ShapedNetwork | undefined
  readonly #secretFile: string
  readonly #dir: string
  readonly #processes: NodeProcess[] = []
  readonly #nodes: LocalNode[] = []

  private constructor(options: ClusterOptions, network: ShapedNetwork | undefined) {
    this.#link = options.link
    this.#dir = options.dir
    this.#secretFile = join(options.dir, 'cluster.secret')
    this.#network = network
  }

  /**
   * Starts nodes and waits until all are ready and know each other.
   *
   * @throws `CONFIG_INVALID` when the network cannot be set up
   */
  static async start(options: ClusterOptions): Promise<Cluster> {
    const { nodes, link, spare = 0 } = options
    const network = link === 'none' ? undefined : await ShapedNetwork.open(nodes + spare, link)
    const cluster = new Cluster(options, network)
    try {
      const secret = `${randomBytes(32).toString('base64url')}\n`
      await writeFile(cluster.#secretFile, secret, { mode: 0o600 })
      for (let index = 0; index < nodes; index++) await cluster.add()
      await cluster.#settled()
      return cluster
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  /** The first one started comes first. */
  get nodes(): readonly LocalNode[] {
    return this.#nodes
  }

  /** Bytes per second of plain TCP between two nodes, each way, with both directions busy. */
  async lineRate(): Promise<number> {
    const link = this.#link
    const bytes = link === 'none' ? LOOPBACK_LINE_BYTES : Math.ceil((link / 8) * LINE_SECONDS)
    const [from, to] = this.nodes
    if (from === undefined || to === undefined) throw new RangeError('a line has two ends')
    return lineRate(from, to, this.#host(0), bytes)
  }

  /** Starts one more, which joins the first; it has opened its ports, and is not ready yet. */
  async add(): Promise<LocalNode> {
    const index = this.#processes.length
    const name = `node-${index + 1}`
    const [first] = this.#processes
    const within = this.#network?.within(index) ?? []
    const node = await NodeProcess.start({
      name,
      dataDir: join(this.#dir, name),
      secretFile: this.#secretFile,
      flags: FLAGS,
      host: this.#host(index),
      within,
      ...(first && { join: first.addresses.mesh })
    })
    this.#processes.push(node)
    const benchNode = {
      registry: node.addresses.registry,
      pid: node.pid,
      ask: (path: string) => node.ask(path),
      fileOf: (digest: Digest) => blobPath(layoutOf(node.dataDir), digest),
      within
    }
    this.#nodes.push(benchNode)
    return benchNode
  }

  async close(): Promise<void> {
    await Promise.all(this.#processes.map(node => node.kill()))
    await this.#network?.close()
  }

  #host(index: number): string {
    return this.#network?.host(index) ?? '127.0.0.1'
  }

  async #settled(): Promise<void> {
    const signal = AbortSignal.timeout(READY_TIMEOUT_MS)
    for (const node of this.#processes) {
      await node.until(({ ready, peers }) => {
        const live = peers.filter(({ state }) => state === 'live').length
        return ready && live === this.#processes.length - 1
      }, signal)
    }
  }
}
