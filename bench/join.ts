import { setTimeout as delay } from 'node:timers/promises'
import { boundOf } from './bound.ts'
import { digestOf, newBlobs, untilHeld } from './cluster/blobs.ts'
import { Cluster } from './cluster/cluster.ts'
import { type BenchNode, cpuSecondsOf, isReady, readMetrics } from './cluster/node.ts'
import { machineMs, pushInside } from './cluster/task.ts'
import { makeDataDir } from './data-dir.ts'
import {
  formatRate,
  formatSize,
  peakRssBytes,
  plural,
  startCpuMeter,
  VALID_CPU_SHARE
} from './measure.ts'
import type { Findings } from './report.ts'

export interface JoinOptions {
  /** Of all that the cluster holds, in bytes. */
  readonly size: number
  /** In so many blobs of one size. */
  readonly blobs: number
  /** Nodes before the join. */
  readonly nodes: number
  /** Bits per second of each node's link, or `none` for the loopback interface. */
  readonly link: number | 'none'
  readonly data?: string
}

const TIMEOUT_MS = 1_800_000
const ASK_MS = 50

/**
 * Starts an empty node beside others that hold everything, and times from the start of its process
 * until it holds everything too. Throws `CONFIG_INVALID` when it cannot be set up as asked.
 */
export async function benchJoin(options: JoinOptions): Promise<Findings> {
  await using dir = await makeDataDir(options.data)
  const { nodes, link } = options
  const cluster = await Cluster.start({ nodes, spare: 1, link, dir: dir.path })
  try {
    const json = { ...(await join(cluster, options)), medium: dir.medium }
    return { title: titleOf(json), rows: rowsOf(json), json }
  } finally {
    await cluster.close()
  }
}

type Joined = Awaited<ReturnType<typeof join>> & { readonly medium: string }

async function join(cluster: Cluster, { size, blobs: count, link, nodes }: JoinOptions) {
  const signal = AbortSignal.timeout(TIMEOUT_MS)
  const blobs = newBlobs(count, Math.ceil(size / count))
  const digests = blobs.map(digestOf)
  const sizeBytes = blobs.reduce((sum, blob) => sum + blob.sizeBytes, 0)
  const [seed] = cluster.nodes
  if (seed === undefined) throw new RangeError('a join needs nodes')
  const bytesPerSecond = nodes === 1 ? Number.NaN : await cluster.lineRate()
  await pushInside(seed, 'bench/join', blobs)
  for (const node of cluster.nodes) await untilHeld(node, digests, sizeBytes, signal)
  const others = [...cluster.nodes]
  const givenBefore = await cpuSecondsOf(others)
  const cpuShare = startCpuMeter()
  const startedMs = machineMs()
  const joiner = await cluster.add()
  const heldMs = await untilHeld(joiner, digests, sizeBytes, signal)
  const busy = cpuShare()
  const cpuSeconds = {
    joiner: await cpuSecondsOf([joiner]),
    others: (await cpuSecondsOf(others)) - givenBefore
  }
  await untilReady(joiner, signal)
  const readyMs = machineMs()
  const { received } = await readMetrics(joiner)
  const seconds = (heldMs - startedMs) / 1000
  // All the others give and only one takes, so its own link is the bound.
  const boundSeconds = boundOf(sizeBytes, sizeBytes, 1, bytesPerSecond)
  return {
    bench: 'join',
    nodes,
    sizeBytes,
    blobs: count,
    link,
    lineRateBytesPerSecond: Math.round(bytesPerSecond),
    boundSeconds,
    seconds,
    readySeconds: (readyMs - startedMs) / 1000,
    efficiency: boundSeconds / seconds,
    duplicateRatio: Math.max(0, received / sizeBytes - 1),
    cpuSeconds,
    cpuShare: busy,
    peakRssBytes: await peakRssBytes(joiner.pid),
    valid: busy <= VALID_CPU_SHARE
  }
}

async function untilReady(node: BenchNode, signal: AbortSignal): Promise<void> {
  while (!(await isReady(node))) await delay(ASK_MS, undefined, { signal })
}

function titleOf({ sizeBytes, blobs, nodes, link, medium }: Joined): string {
  const where = link === 'none' ? medium : `${medium}, ${formatRate(link)}`
  return `join: an empty node beside ${nodes} that hold ${formatSize(sizeBytes)} in ${plural(blobs, 'blob')} (${where})`
}

function rowsOf(joined: Joined): [string, string][] {
  const busy = joined.valid ? '' : ': above 80 %, they are what was measured'
  return [
    ['it holds everything after', `${joined.seconds.toFixed(2)} s from its start`],
    ['it is ready after', `${joined.readySeconds.toFixed(2)} s`],
    ['line rate, plain TCP', `${formatSize(joined.lineRateBytesPerSecond)}/s each way`],
    ['bound', `${joined.boundSeconds.toFixed(2)} s, so efficiency ${joined.efficiency.toFixed(3)}`],
    ['received twice', `${(100 * joined.duplicateRatio).toFixed(2)} %`],
    [
      'processor time',
      `${joined.cpuSeconds.joiner.toFixed(1)} s from its start, ${joined.cpuSeconds.others.toFixed(1)} s of the others`
    ],
    ['its peak memory', formatSize(joined.peakRssBytes)],
    ['processors busy', `${Math.round(100 * joined.cpuShare)} %${busy}`]
  ]
}
