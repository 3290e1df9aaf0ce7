/**
 * Proves that copies are made while a push still streams in: through links of 200 Mbit/s a push
 * that is answered with two copies takes at most 1.10 times one with a single copy (medians), and
 * a large layer has its copy within an `--ack-wait` of 8 s: no 503, no `Warning`. Prints one JSON
 * object; exits 1 when that fails. Needs root.
 */
import { parseArgs } from 'node:util'
import { median } from '../../bench/measure.ts'
import { Cluster } from '../helpers/cluster.ts'
import { Namespaces } from '../helpers/namespaces.ts'
import { digestOfContent, largeContent, RegistryClient } from '../helpers/registry.ts'

const MIB = 1024 * 1024
const NODES = 3
const LINK_BITS_PER_SECOND = 200_000_000
const MAX_RATIO = 1.1
const REPOSITORY = 'prove/cut'

const { values } = parseArgs({
  options: {
    mebibytes: { type: 'string', default: '1024' },
    large: { type: 'string', default: '5120' },
    runs: { type: 'string', default: '3' }
  }
})
const namespaces = await Namespaces.open(NODES)
try {
  for (let index = 0; index < NODES; index++) await namespaces.shape(index, LINK_BITS_PER_SECOND)
  const figures = await measure()
  console.log(JSON.stringify(figures))
  process.exitCode = figures.ratio <= MAX_RATIO ? 0 : 1
} finally {
  await namespaces.close()
}

async function measure() {
  const sizeBytes = Number(values.mebibytes) * MIB
  const seconds: Record<'1' | '2', number[]> = { '1': [], '2': [] }
  for (let run = 0; run < Number(values.runs); run++) {
    for (const copies of ['1', '2'] as const) {
      seconds[copies].push(await pushSeconds(sizeBytes, ['--copies', copies]))
    }
  }
  const largeBytes = Number(values.large) * MIB
  const largeSeconds = await pushSeconds(largeBytes, ['--ack-wait', '8s'])
  const ratio = Math.round((median(seconds['2']) / median(seconds['1'])) * 1000) / 1000
  return { prove: 'cut-through', sizeBytes, seconds, ratio, largeBytes, largeSeconds }
}

/** From the first byte of the blob to the answer for the manifest; throws unless that is a plain 201. */
async function pushSeconds(sizeBytes: number, flags: readonly string[]): Promise<number> {
  const { cluster, nodes } = await Cluster.start(NODES, { namespaces, flags })
  try {
    const client = new RegistryClient(nodes[0]?.addresses.registry ?? '')
    const content = largeContent(sizeBytes, flags.length)
    const digest = digestOfContent(content)
    const begunMs = performance.now()
    await client.pushBlob(REPOSITORY, content, digest)
    await client.tagBlob(REPOSITORY, 'v1', { digest, sizeBytes }, { strict: true })
    client.close()
    return Math.round(performance.now() - begunMs) / 1000
  } finally {
    await cluster.close()
  }
}
