import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Daemon, type DaemonOptions } from './daemon.ts'
import type { Namespaces } from './namespaces.ts'

export interface ClusterOptions {
  readonly flags?: readonly string[]
  /** What to send to the admin ports, where there are users. */
  readonly authorization?: string
  readonly namespaces?: Namespaces
}

/**
 * Several `serve` processes in one temporary directory, each with a data directory of its own, all
 * joined through the first, as separate machines would be. `close()` ends and removes everything.
 */
export class Cluster {
  readonly directory: string
  readonly secretFile: string
  readonly #daemons = new Set<Daemon>()

  private constructor(directory: string) {
    this.directory = directory
    this.secretFile = join(directory, 'secret')
  }

  static async open(): Promise<Cluster> {
    const cluster = new Cluster(await mkdtemp(join(tmpdir(), 'starling-cluster-')))
    await writeFile(cluster.secretFile, 'a secret of this test only\n', { mode: 0o600 })
    return cluster
  }

  /**
   * Opens a cluster of `count` ready nodes, each connected to the first; `flags` are of `serve`. In
   * namespaces each is on a machine of its own, as far as it can tell.
   */
  static async start(
    count: number,
    { namespaces, ...shared }: ClusterOptions = {}
  ): Promise<{ cluster: Cluster; nodes: readonly Daemon[] }> {
    const place = (index: number): Partial<DaemonOptions> =>
      namespaces === undefined ? {} : placeIn(namespaces, index)
    const cluster = await Cluster.open()
    try {
      const first = await cluster.node('node-1', { ...shared, ...place(0) })
      const nodes = [first]
      for (let number = 2; number <= count; number++) {
        const join = [first.addresses.mesh]
        const options = { join, ...shared, ...place(number - 1) }
        nodes.push(await cluster.node(`node-${number}`, options))
      }
      for (const node of nodes) {
        await node.statusWhere(
          `to know ${count - 1} live members`,
          status => status.peers.filter(peer => peer.state === 'live').length === count - 1
        )
        await node.ready()
      }
      return { cluster, nodes }
    } catch (error) {
      await cluster.close()
      throw error
    }
  }

  /** Starts one node; it need not be ready yet. */
  node(name: string, options: Partial<DaemonOptions> = {}): Promise<Daemon> {
    const dataDir = join(this.directory, name)
    return this.#own(Daemon.start({ name, dataDir, secretFile: this.secretFile, ...options }))
  }

  /** Starts a node again that has ended, on the data it left or on none, to join others if told so. */
  async restart(daemon: Daemon, data: 'kept' | 'empty', join?: readonly string[]): Promise<Daemon> {
    if (data === 'empty') await rm(daemon.options.dataDir, { recursive: true, force: true })
    return this.#own(daemon.restart(join))
  }

  async close(): Promise<void> {
    await Promise.all(Array.from(this.#daemons, daemon => daemon.kill()))
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 })
  }

  async #own(starting: Promise<Daemon>): Promise<Daemon> {
    const daemon = await starting
    this.#daemons.add(daemon)
    return daemon
  }
}

export function placeIn(namespaces: Namespaces, index: number): Partial<DaemonOptions> {
  const any = `${namespaces.address(index)}:0`
  return {
    namespace: namespaces.name(index),
    listen: { registry: any, admin: any, mesh: any, transfer: any }
  }
}
