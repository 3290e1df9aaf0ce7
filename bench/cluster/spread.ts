import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { truncate } from 'node:fs/promises'
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { makeBlob } from '../../src/demo/image.ts'
import type { Digest } from '../../src/digest.ts'
import { startCpuMeter } from '../measure.ts'
import { cpuSeconds } from '../process-cpu.ts'
import { type BenchNode, bytesHeld, isLocal, readMetrics } from './node.ts'
import { machineMs, pushInside, type Seeded } from './task.ts'

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
  /** Of the worst node. */
  readonly loopDelayP99Seconds: number
}

const REPOSITORY = 'bench/replicate'
const TIMEOUT_MS = 900_000

/** Looking whether a file is there costs microseconds, a question to a node a hundred times that. */
const LOOK_MS = 2
const ASK_MS = 10

/** Pushes new blobs of random bytes to the first node and times when each other one holds them. */
export async function spreadOnce(
  nodes: readonly BenchNode[],
  blobs: number,
  blobBytes: number
): Promise<Spread> {
  const [seed, ...receivers] = nodes
  if (seed === undefined) throw new RangeError('a spread needs nodes')
  const seeded = Array.from({ length: blobs }, () => ({
    sizeBytes: blobBytes,
    seed: randomBytes(16).toString('hex')
  }))
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
  await giveSpaceBack(nodes, digests)
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
    loopDelayP99Seconds: Math.max(...after.map(each => each.loopDelayP99Seconds))
  }
}

function digestOf({ sizeBytes, seed }: Seeded): Digest {
  return makeBlob(sizeBytes, Buffer.from(seed, 'hex')).digest
}

/**
 * A blob under its final name is verified and synced, but for the sync of its directory, after
 * which the node counts it.
 */
async function untilHeld(
  node: BenchNode,
  digests: readonly Digest[],
  wantedBytes: number,
  signal: AbortSignal
): Promise<number> {
  if (isLocal(node)) {
    for (const digest of digests) {
      while (!existsSync(node.fileOf(digest))) await delay(LOOK_MS, undefined, { signal })
    }
  }
  while ((await bytesHeld(node)) < wantedBytes) await delay(ASK_MS, undefined, { signal })
  return machineMs()
}

async function cpuSecondsOf(nodes: readonly BenchNode[]): Promise<number> {
  const each = nodes.map(node => (isLocal(node) ? cpuSeconds(node.pid) : Number.NaN))
  return (await Promise.all(each)).reduce((sum, seconds) => sum + seconds, 0)
}

/** So that memory holds the blobs of one run and not of all; or that a cluster is left as it was. */
async function giveSpaceBack(
  nodes: readonly BenchNode[],
  digests: readonly Digest[]
): Promise<void> {
  const [seed] = nodes
  for (const digest of digests) {
    const local = nodes.filter(isLocal)
    await Promise.all(local.map(node => truncate(node.fileOf(digest))))
    if (local.length > 0 || seed === undefined) continue
    const url = `http://${seed.registry}/v2/${REPOSITORY}/blobs/${digest}`
    await (await fetch(url, { method: 'DELETE' })).body?.cancel()
  }
}
