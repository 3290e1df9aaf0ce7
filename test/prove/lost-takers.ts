/**
 * Proves P1: an image is pushed to a node, which is killed the moment the push is answered, its disk
 * wiped; the other two must give the whole image. Prints one JSON object; exits 1 when one was lost.
 */
import { parseArgs } from 'node:util'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'

const MIB = 1024 * 1024
const REPOSITORY = 'prove/lost'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '100' } } })
const figures = await measure(Number(values.rounds))
console.log(JSON.stringify(figures))
process.exitCode = figures.lost === 0 ? 0 : 1

async function measure(rounds: number) {
  const { cluster, nodes } = await Cluster.start(3)
  let [taker, second, third] = nodes as [Daemon, Daemon, Daemon]
  let lost = 0
  try {
    for (let round = 1; round <= rounds; round++) {
      const image = makeImage([6 * MIB, 2 * MIB, 64 * 1024])
      const tag = `round-${round}`
      await pushImage({ registry: taker.addresses.registry, repository: REPOSITORY, tag }, image)
      await taker.kill()
      for (const node of [second, third]) {
        const { addresses, name } = node
        const from = { registry: addresses.registry, repository: REPOSITORY, tag }
        const pulled = await pullImage(from).catch((error: unknown) => error)
        if (pulled === image.sizeBytes) continue
        lost += 1
        console.error(`round ${round}: not whole on ${name}:`, pulled, node.log)
      }
      const back = await cluster.restart(taker, 'empty')
      ;[taker, second, third] = [second, third, back]
      await Promise.all([taker, second, third].map(settled))
    }
  } finally {
    await cluster.close()
  }
  return { prove: 'lost-takers', rounds, lost }
}

async function settled(node: Daemon): Promise<void> {
  await node.statusWhere(
    'to see two live members and hold all',
    ({ peers, blobs }) =>
      peers.filter(({ state }) => state === 'live').length === 2 && blobs.missing === 0
  )
  await node.ready()
}
