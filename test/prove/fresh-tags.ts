/**
 * Proves P2: a tag is pushed to one node and read at once from another; it must be the new digest
 * each time. Prints one JSON object with how long after the push's answer the reader had it; exits
 * 1 when a reader saw an older image.
 */
import { parseArgs } from 'node:util'
import { percentile } from '../../bench/measure.ts'
import { imageOf, makeBlob } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import { pull, push } from '../history/client.ts'

const REPOSITORY = 'prove/fresh'
const LAYER_BYTES = 4_096

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '1000' } } })
const figures = await measure(Number(values.rounds))
console.log(JSON.stringify(figures))
process.exitCode = figures.stale + figures.failed === 0 ? 0 : 1

async function measure(rounds: number) {
  const { cluster, nodes } = await Cluster.start(3)
  const [writer = '', , reader = ''] = nodes.map(({ addresses }) => addresses.registry)
  let stale = 0
  let failed = 0
  const pushMs: number[] = []
  const visibleMs: number[] = []
  try {
    for (let round = 0; round < rounds; round++) {
      const image = imageOf([makeBlob(LAYER_BYTES, Buffer.from(`round ${round}`))])
      const begunMs = performance.now()
      const pushed = await push(writer, REPOSITORY, 'latest', image)
      const answeredMs = performance.now()
      const { found } = await pull(reader, REPOSITORY, 'latest')
      const readMs = performance.now()
      if (pushed.outcome !== 'done') failed += 1
      else if (found.kind !== 'image' || found.digest !== image.digest) {
        stale += 1
        console.error(`round ${round}: pushed ${image.digest}, found`, found)
      }
      pushMs.push(answeredMs - begunMs)
      visibleMs.push(readMs - begunMs)
    }
  } finally {
    await cluster.close()
  }
  return {
    ...{ prove: 'fresh-tags', rounds, stale, failed },
    pushMs: percentiles(pushMs),
    pushToPulledMs: percentiles(visibleMs)
  }
}

function percentiles(values: readonly number[]) {
  const at = (share: number) => Math.round(percentile(values, share) * 10) / 10
  return { p50: at(0.5), p99: at(0.99), max: at(1) }
}
