/**
 * Proves that nobody waits for the slow: a blob goes to five nodes on links of 200 Mbit/s, once
 * with all alike and once with one of them at a tenth of the rate. The other receivers must not
 * take more than 1.25 times as long. Prints one JSON object; exits 1 when they do. Needs root.
 */
import { parseArgs } from 'node:util'
import { median } from '../../bench/measure.ts'
import { Cluster } from '../helpers/cluster.ts'
import { Namespaces } from '../helpers/namespaces.ts'
import { largeContent, RegistryClient } from '../helpers/registry.ts'

const MIB = 1024 * 1024
const NODES = 5
const SLOW = NODES - 1
const LINK_BITS_PER_SECOND = 200_000_000
const MAX_RATIO = 1.25
const REPOSITORY = 'prove/slow'

const { values } = parseArgs({
  options: {
    mebibytes: { type: 'string', default: '256' },
    runs: { type: 'string', default: '3' }
  }
})
const sizeBytes = Number(values.mebibytes) * MIB
const namespaces = await Namespaces.open(NODES)
try {
  const alike: number[] = []
  const oneSlow: number[] = []
  for (let run = 0; run < Number(values.runs); run++) {
    alike.push(await spreadSeconds(LINK_BITS_PER_SECOND))
    oneSlow.push(await spreadSeconds(LINK_BITS_PER_SECOND / 10))
  }
  const ratio = Math.round((median(oneSlow) / median(alike)) * 1000) / 1000
  console.log(JSON.stringify({ prove: 'slow-node', sizeBytes, alike, oneSlow, ratio }))
  process.exitCode = ratio <= MAX_RATIO ? 0 : 1
} finally {
  await namespaces.close()
}

/** Until all receivers but the last one hold the blob; from its first byte on. */
async function spreadSeconds(lastBitsPerSecond: number): Promise<number> {
  for (let index = 0; index < NODES; index++) {
    await namespaces.shape(index, index === SLOW ? lastBitsPerSecond : LINK_BITS_PER_SECOND)
  }
  const { cluster, nodes } = await Cluster.start(NODES, { namespaces })
  try {
    const client = new RegistryClient(nodes[0]?.addresses.registry ?? '')
    const begunMs = performance.now()
    const digest = await client.pushBlob(REPOSITORY, largeContent(sizeBytes, 1))
    await client.tagBlob(REPOSITORY, 'v1', { digest, sizeBytes })
    client.close()
    const fast = nodes.slice(1, SLOW)
    await Promise.all(
      fast.map(node => node.statusWhere('to hold all', ({ blobs }) => blobs.held === 3))
    )
    return Math.round(performance.now() - begunMs) / 1000
  } finally {
    await cluster.close()
  }
}
