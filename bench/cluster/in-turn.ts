import { pull } from '../raw-http.ts'
import { digestOf, newBlobs, removeBlobs, untilHeld } from './blobs.ts'
import { bytesHeld, type LocalNode } from './node.ts'
import { pushInside } from './task.ts'

const REPOSITORY = 'bench/in-turn'
const TIMEOUT_MS = 900_000

/**
 * Bytes per second when each of the others gets a blob from the first node by plain HTTP, one after
 * the other, and drops it: what a cluster without a swarm would do at best. Loopback only.
 */
export async function pullInTurn(nodes: readonly LocalNode[], sizeBytes: number): Promise<number> {
  const [seed, ...others] = nodes
  if (seed === undefined) throw new RangeError('there are no nodes')
  const blobs = newBlobs(1, sizeBytes)
  const digests = blobs.map(digestOf)
  const held = await Promise.all(nodes.map(bytesHeld))
  await pushInside(seed, REPOSITORY, blobs)
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  // Copies that are still under way would take the processors.
  for (const [index, node] of nodes.entries()) {
    await untilHeld(node, digests, (held[index] ?? 0) + sizeBytes, signal)
  }
  const port = Number(new URL(`http://${seed.registry}`).port)
  let seconds = 0
  for (const digest of others.flatMap(() => digests)) {
    seconds += await pull(port, `/v2/${REPOSITORY}/blobs/${digest}`, sizeBytes)
  }
  await removeBlobs(nodes, REPOSITORY, digests)
  return (others.length * sizeBytes) / seconds
}
