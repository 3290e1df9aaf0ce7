import { setTimeout as delay } from 'node:timers/promises'
import { seededRandom } from '../../bench/simulation/random.ts'
import type { Random } from '../../src/clock.ts'
import { imageOf, type MadeBlob, makeBlob } from '../../src/demo/image.ts'
import type { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import type { Namespaces } from '../helpers/namespaces.ts'
import { pull, push, remove } from './client.ts'
import { type Fault, settled, torment } from './nemesis.ts'
import type { Action, History, Operation } from './operation.ts'

export interface RecordOptions {
  readonly cluster: Cluster
  /** Ready; those killed on the way are replaced in place. */
  readonly nodes: Daemon[]
  readonly namespaces?: Namespaces
  readonly faults: readonly Fault[]
  readonly seed: number
  readonly durationMs: number
}

const CLIENTS = 4
const TAGS = ['a', 'b', 'c']
const REPOSITORY = 'history/app'
/** So that images share layers, and one deleted takes none from another. */
const SHARED_LAYERS = 3
const LAYER_BYTES = 200_000
const PAUSE_MS = 30

/**
 * Lets clients push, pull and delete a few tags at random through random nodes while faults strike,
 * then waits until all is calm and reads each tag on each node once more. The choices follow from
 * the seed; the interleaving is the machine's.
 */
export async function record(options: RecordOptions): Promise<History> {
  const { nodes, seed, durationMs } = options
  const begunMs = performance.now()
  const nowMs = () => performance.now() - begunMs
  const over = new AbortController()
  const timer = setTimeout(() => over.abort(), durationMs)
  const operations: Operation[] = []
  const perform = async (client: number, node: Daemon, tag: string, act: Act) => {
    const startMs = nowMs()
    const action = await act(node.addresses.registry, REPOSITORY, tag)
    operations.push({ client, node: node.name, tag, startMs, endMs: nowMs(), action })
  }
  const shared = Array.from({ length: SHARED_LAYERS }, (_, index) => layer(seed, index))
  const work = async (client: number) => {
    const random = seededRandom(seed * CLIENTS + client)
    for (let count = 0; !over.signal.aborted; count++) {
      const [node, tag] = [pick(nodes, random), pick(TAGS, random)]
      const act = actOf(random, [pick(shared, random), layer(seed, `${client} ${count}`)])
      await perform(client, node, tag, act)
      await delay(PAUSE_MS * random())
    }
  }
  try {
    const tormenting = torment({
      ...options,
      ...{ random: seededRandom(seed), nowMs, signal: over.signal }
    })
    const [troubles] = await Promise.all([
      tormenting,
      ...Array.from({ length: CLIENTS }, (_, client) => work(client))
    ])
    await Promise.all(nodes.map(node => settled(node, nodes.length - 1)))
    for (const node of nodes) {
      for (const tag of TAGS) await perform(CLIENTS, node, tag, pull)
    }
    return { operations, ...troubles }
  } finally {
    clearTimeout(timer)
    over.abort()
  }
}

type Act = (registry: string, repository: string, tag: string) => Promise<Action>

function actOf(random: Random, layers: readonly MadeBlob[]): Act {
  const chance = random()
  if (chance < 0.35) {
    return (registry, repository, tag) => push(registry, repository, tag, imageOf(layers))
  }
  return chance < 0.45 ? remove : pull
}

function layer(seed: number, name: string | number): MadeBlob {
  return makeBlob(LAYER_BYTES, Buffer.from(`${seed} ${name}`))
}

function pick<Item>(items: readonly Item[], random: Random): Item {
  const item = items[Math.floor(random() * items.length)]
  if (item === undefined) throw new RangeError('nothing to choose from')
  return item
}
