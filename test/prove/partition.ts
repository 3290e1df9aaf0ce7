/**
 * Proves P6 and P7: one node of three is cut off while tags move, images come and go on the others.
 * After healing it must have all within 10 s, nothing deleted may come back, and the bytes moved
 * must be at most 1.2 times those it lacked. Prints one JSON object. Needs root.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { imageOf, makeBlob } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { Namespaces } from '../helpers/namespaces.ts'
import { pull, push, remove } from '../history/client.ts'
import { settled } from '../history/nemesis.ts'

const REPOSITORY = 'prove/partition'
const LAYER_BYTES = 4 * 1024 * 1024
const TAGS = 12
const CUT = 2
const HEAL_LIMIT_MS = 10_000
const MAX_MOVED_RATIO = 1.2

const { values } = parseArgs({ options: { seconds: { type: 'string', default: '60' } } })
const namespaces = await Namespaces.open(3)
try {
  const figures = await measure(Number(values.seconds) * 1000)
  console.log(JSON.stringify(figures))
  const { healedMs, movedRatio, wrong } = figures
  const holds = healedMs <= HEAL_LIMIT_MS && movedRatio <= MAX_MOVED_RATIO && wrong.length === 0
  process.exitCode = holds ? 0 : 1
} finally {
  await namespaces.close()
}

async function measure(cutMs: number) {
  const { cluster, nodes } = await Cluster.start(3, { namespaces })
  try {
    const [first, second, third] = nodes as [Daemon, Daemon, Daemon]
    const state = new Map<string, string | undefined>()
    for (let index = 0; index < TAGS; index++) await tag(first, index, 'before', state)
    await settled(third, 2)
    await namespaces.isolate(CUT)
    const endMs = performance.now() + cutMs
    for (let step = 0; performance.now() < endMs; step++) {
      const node = step % 2 === 0 ? first : second
      await (step % 3 === 2 ? untag(node, step % TAGS, state) : tag(node, step, 'during', state))
      await delay(cutMs / 60)
    }
    const lackedBytes =
      (await first.status()).blobs.bytesHeld - (await third.status()).blobs.bytesHeld
    const receivedBytes = await received(third)
    const healMs = performance.now()
    await namespaces.heal(CUT)
    await third.statusWhere(
      'to lack nothing that the others have',
      ({ ready, blobs, peers }) =>
        ready && blobs.missing === 0 && peers.every(({ connected }) => connected),
      60_000
    )
    const healedMs = Math.round(performance.now() - healMs)
    const wrong = await wrongTags(nodes, state)
    const movedBytes = (await received(third)) - receivedBytes
    const movedRatio = Math.round((movedBytes / lackedBytes) * 1000) / 1000
    const wastedBytes = await third.metric('starling_wasted_bytes_total')
    const bytes = { lackedBytes, movedBytes, movedRatio, wastedBytes }
    return { prove: 'partition', cutMs, healedMs, ...bytes, wrong }
  } finally {
    await cluster.close()
  }
}

async function tag(
  node: Daemon,
  index: number,
  when: string,
  state: Map<string, string | undefined>
): Promise<void> {
  const image = imageOf([makeBlob(LAYER_BYTES, Buffer.from(`${when} ${index}`))])
  const name = `t${index % TAGS}`
  const { outcome } = await push(node.addresses.registry, REPOSITORY, name, image)
  if (outcome !== 'done') throw new Error(`the push of ${name} was ${outcome}`)
  state.set(name, image.digest)
}

async function untag(
  node: Daemon,
  index: number,
  state: Map<string, string | undefined>
): Promise<void> {
  const name = `t${index}`
  const { outcome } = await remove(node.addresses.registry, REPOSITORY, name)
  if (outcome === 'done') state.set(name, undefined)
}

async function wrongTags(
  nodes: readonly Daemon[],
  state: ReadonlyMap<string, string | undefined>
): Promise<string[]> {
  const wrong: string[] = []
  for (const { name, addresses } of nodes) {
    for (const [tag, digest] of state) {
      const { found } = await pull(addresses.registry, REPOSITORY, tag)
      const got = found.kind === 'image' ? found.digest : undefined
      if (got !== digest || found.kind === 'nothing') wrong.push(`${name} ${tag}: ${found.kind}`)
    }
  }
  return wrong
}

function received(node: Daemon): Promise<number> {
  return node.metric('starling_bytes_received_total', { plane: 'transfer' })
}
