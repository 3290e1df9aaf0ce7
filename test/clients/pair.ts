import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before } from 'node:test'
import { Cluster, type ClusterOptions } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'

/** Two nodes that know each other, as clients see them, and a directory to work in. */
export interface Pair {
  /** Registry addresses, `host:port`. */
  readonly first: string
  readonly second: string
  readonly both: readonly [string, string]
  readonly directory: string
  /** The ends of both logs. */
  readonly logs: string
}

/**
 * Opens a pair before the tests of a file and closes it after them; its fields are there once the
 * tests run.
 *
 * @param prepare what else is to be done before them, with the pair: hooks of their own would run
 *   beside this one
 * @param serving how the nodes are to be started; the files that this needs are made by it
 */
export function openPair(
  name: string,
  prepare: (pair: Pair) => Promise<void> = async () => {},
  serving: (directory: string) => Promise<ClusterOptions> = async () => ({})
): Pair {
  let cluster: Cluster | undefined
  let nodes: readonly Daemon[] = []
  let directory: string | undefined
  let addresses: readonly [string, string] | undefined

  before(async () => {
    directory = await mkdtemp(join(tmpdir(), `starling-${name}-`))
    const started = await Cluster.start(2, await serving(directory))
    cluster = started.cluster
    nodes = started.nodes
    const [first, second] = started.nodes.map(node => node.addresses.registry)
    if (first !== undefined && second !== undefined) addresses = [first, second]
    await prepare(pair)
  })

  after(async () => {
    await cluster?.close()
    if (directory !== undefined) await rm(directory, { recursive: true, force: true })
  })

  const pair: Pair = {
    get first() {
      return opened(addresses)[0]
    },
    get second() {
      return opened(addresses)[1]
    },
    get both() {
      return opened(addresses)
    },
    get directory() {
      return opened(directory)
    },
    get logs() {
      return nodes.map(node => node.log).join('\n')
    }
  }
  return pair
}

function opened<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('the nodes are not there before the tests run')
  return value
}
