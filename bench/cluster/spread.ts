import { cpus } from 'node:os'
import { startCpuMeter } from '../measure.ts'
import { digestOf, newBlobs, removeBlobs, untilHeld } from './blobs.ts'
import { type BenchNode, bytesHeld, cpuSecondsOf, readMetrics } from './node.ts'
import { machineMs, pushInside } from './task.ts'

/** How one spread of blobs from the first node to the others went. */
export interface Spread {
  /** From the last commit on the first node until a receiver holds everything, by receiver. */
  readonly seconds: readonly number[]
  readonly fromFirstByte: readonly number[]
  readonly seedEgressRatio: number
  readonly duplicateRatio: number
  /** Of all processors, whatever they did. */
  readonly cpuShare: number
  /** Of all processors, by the nodes alone; not a number when they cannot be seen. */
  readonly nodesCpuShare: number
  /** Processor time of the nodes for each GiB that came to a receiver; unknown likewise. */
  readonly nodesCpuSecondsPerGiB: number
  /** Of the worst node. */
  readonly loopDelayP99Seconds: number
}

const REPOSITORY = 'bench/replicate'
const TIMEOUT_MS = 900_000
const GIB = 1024 ** 3

/** Pushes new blobs of random bytes to the first node and times when each other one holds them. */
export async function spreadOnce(
  nodes: readonly BenchNode[],
  blobs: number,
  blobBytes: number
): Promise<Spread> {
  const [seed, ...receivers] = nodes
  if (seed === undefined) throw new RangeError('a spread needs nodes')
  const seeded = newBlobs(blobs, blobBytes)
  const digests = seeded.map(digestOf)
  const held = await Promise.all(receivers.map(bytesHeld))
  const before = await Promise.all(nodes.map(readMetrics))
  const cpuShare = startCpuMeter()
  const cpuBefore = await cpuSecondsOf(nodes)
  const startedMs = machineMs()
  const sizeBytes = blobs * blobBytes
  const done = receivers.map((node, index) =>
    untilHeld(node, digests, (held[index] ?? 0) + sizeBytes, AbortSignal.timeout(TIMEOUT_MS))
  )
  const [{ firstByteMs, committedMs }, ...doneMs] = await Promise.all([
    pushInside(seed, REPOSITORY, seeded),
    ...done
  ])
  const seconds = (machineMs() - startedMs) / 1000
  const busy = cpuShare()
  const nodesCpu = (await cpuSecondsOf(nodes)) - cpuBefore
  const after = await Promise.all(nodes.map(readMetrics))
  await removeBlobs(nodes, REPOSITORY, digests)
  const sent = (after[0]?.sent ?? 0) - (before[0]?.sent ?? 0)
  const received = after
    .slice(1)
    .reduce((sum, reading, index) => sum + reading.received - (before[index + 1]?.received ?? 0), 0)
  return {
    seconds: doneMs.map(at => Math.max(0, at - committedMs) / 1000),
    fromFirstByte: doneMs.map(at => (at - firstByteMs) / 1000),
    seedEgressRatio: sent / sizeBytes,
    duplicateRatio: Math.max(0, received / (sizeBytes * receivers.length) - 1),
    cpuShare: busy,
    nodesCpuShare: nodesCpu / (seconds * cpus().length),
    nodesCpuSecondsPerGiB: (nodesCpu * GIB) / (sizeBytes * receivers.length),
    loopDelayP99Seconds: Math.max(...after.map(each => each.loopDelayP99Seconds))
  }
}
