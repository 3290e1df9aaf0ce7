import { cpus } from 'node:os'
import { agreedPieceBytes, boundOf } from './bound.ts'
import { type BenchNode, isLocal } from './cluster/node.ts'
import type { Spread } from './cluster/spread.ts'
import { formatRate, formatSize, median, peakRssBytes, plural, VALID_CPU_SHARE } from './measure.ts'

/** What the bench came to with one cluster; its fields are those of the JSON. */
export type Replicated = Awaited<ReturnType<typeof replicated>>

/** What was asked of a cluster, and what is known of it. */
export interface Asked {
  readonly size: number
  readonly blobs: number
  readonly link: number | 'none' | 'unknown'
  /** What plain TCP reaches each way; not a number when that is not known. */
  readonly bytesPerSecond: number
  readonly medium: string
  /** By the receivers one after the other, from the first node, by plain HTTP. */
  readonly inTurnBytesPerSecond?: number
}

/** Sums up the runs with one cluster: medians over runs, percentiles over receivers. */
export async function replicated(
  nodes: readonly BenchNode[],
  spreads: readonly Spread[],
  { size, blobs, link, bytesPerSecond, medium, inTurnBytesPerSecond }: Asked
) {
  const receivers = nodes.length - 1
  const pieceBytes = agreedPieceBytes(size)
  const boundSeconds = boundOf(blobs * size, pieceBytes, receivers, bytesPerSecond)
  const of = (pick: (spread: Spread) => number) => median(spreads.map(pick))
  const timesOf = (pick: (spread: Spread) => readonly number[]) => ({
    p50: of(spread => median(pick(spread))),
    p100: of(spread => Math.max(...pick(spread)))
  })
  const efficiencyOf = ({ p50, p100 }: Times) => ({
    p50: boundSeconds / p50,
    p100: boundSeconds / p100
  })
  const seconds = timesOf(spread => spread.seconds)
  const fromFirstByte = timesOf(spread => spread.fromFirstByte)
  const rss = await Promise.all(nodes.filter(isLocal).map(({ pid }) => peakRssBytes(pid)))
  const cpuShare = of(spread => spread.cpuShare)
  return {
    bench: 'replicate' as const,
    nodes: nodes.length,
    receivers,
    sizeBytes: size,
    blobs,
    link,
    medium,
    runs: spreads.length,
    lineRateBytesPerSecond: Math.round(bytesPerSecond),
    boundSeconds,
    seconds,
    fromFirstByte,
    efficiency: efficiencyOf(seconds),
    efficiencyFromFirstByte: efficiencyOf(fromFirstByte),
    receivedBytesPerSecond: (blobs * size * receivers) / fromFirstByte.p100,
    ...(inTurnBytesPerSecond !== undefined && { inTurnBytesPerSecond }),
    seedEgressRatio: of(spread => spread.seedEgressRatio),
    duplicateRatio: of(spread => spread.duplicateRatio),
    cpuShare,
    nodesCpuShare: of(spread => spread.nodesCpuShare),
    nodesCpuSecondsPerGiB: of(spread => spread.nodesCpuSecondsPerGiB),
    processors: cpus().length,
    loopDelayP99Seconds: of(spread => spread.loopDelayP99Seconds),
    peakRssBytes: rss.length > 0 ? Math.max(...rss) : null,
    peakRssBytesByNode: rss,
    spreads,
    valid: cpuShare <= VALID_CPU_SHARE
  }
}

interface Times {
  readonly p50: number
  readonly p100: number
}

/** A swarm that works well keeps within these whatever its time (issue 5). */
const MAX_SEED_EGRESS_RATIO = 1.15
const MAX_DUPLICATE_RATIO = 0.02

/**
 * In words, what is worse than it is to be. The efficiency is that from the first byte pushed: a
 * push is held back to the pace of its receivers, so from its commit on hardly anything is left.
 */
export function shortfallsOf(result: Replicated, efficiency: number): string[] {
  const {
    receivers,
    efficiencyFromFirstByte: found,
    seedEgressRatio,
    duplicateRatio,
    valid
  } = result
  const shortfalls: string[] = []
  if (!(found.p100 >= efficiency)) {
    shortfalls.push(`efficiency ${found.p100.toFixed(3)}, expected ${efficiency}`)
  }
  if (!(seedEgressRatio <= MAX_SEED_EGRESS_RATIO)) {
    shortfalls.push(`the seed sent ${seedEgressRatio.toFixed(2)} sizes`)
  }
  if (!(duplicateRatio <= MAX_DUPLICATE_RATIO)) {
    shortfalls.push(`${(100 * duplicateRatio).toFixed(1)} % were received twice`)
  }
  const where = `1 node to ${receivers}${valid ? '' : ', processors too busy to say'}`
  return shortfalls.map(shortfall => `${where}: ${shortfall}`)
}

export function titleOf(result: Replicated): string {
  const { blobs, sizeBytes, receivers, link, medium, runs } = result
  const what = blobs === 1 ? formatSize(sizeBytes) : `${blobs} blobs of ${formatSize(sizeBytes)}`
  const where = typeof link === 'number' ? `, ${formatRate(link)}` : ''
  return `replicate: ${what} from 1 node to ${receivers} (${medium}${where}, ${plural(runs, 'run')})`
}

export function rowsOf(result: Replicated): [string, string][] {
  const { seconds, fromFirstByte, efficiency, peakRssBytes: rss } = result
  const { nodesCpuSecondsPerGiB: perGiB } = result
  const isKnown = Number.isFinite(result.boundSeconds)
  const late = result.valid ? '' : ': above 80 %, they are what was measured'
  return [
    ['all hold it after', `${inWords(seconds.p100)} (half of them ${inWords(seconds.p50)})`],
    ['from the first byte pushed', inWords(fromFirstByte.p100)],
    [
      'line rate, plain TCP',
      isKnown ? `${formatSize(result.lineRateBytesPerSecond)}/s each way` : UNKNOWN
    ],
    [
      'bound',
      isKnown
        ? `${inWords(result.boundSeconds)}, so efficiency ${efficiency.p100.toFixed(3)} (from the first byte ${result.efficiencyFromFirstByte.p100.toFixed(3)})`
        : UNKNOWN
    ],
    ...togetherOrInTurn(result),
    ['seed sent', `${result.seedEgressRatio.toFixed(3)} sizes`],
    ['received twice', `${(100 * result.duplicateRatio).toFixed(2)} %`],
    ['peak memory of a node', rss === null ? UNKNOWN : formatSize(rss)],
    ['event loop late, p99', `${(1000 * result.loopDelayP99Seconds).toFixed(0)} ms`],
    ['processors busy', `${Math.round(100 * result.cpuShare)} %${late}`],
    [
      'processor time of the nodes',
      Number.isFinite(perGiB) ? `${perGiB.toFixed(1)} s for each GiB received` : UNKNOWN
    ]
  ]
}

function togetherOrInTurn(result: Replicated): [string, string][] {
  const { receivedBytesPerSecond: together, inTurnBytesPerSecond: inTurn } = result
  if (inTurn === undefined) return []
  const ratio = `${(together / inTurn).toFixed(2)} times that of plain HTTP`
  return [['all receivers together', `${formatSize(together)}/s, ${ratio} in turn`]]
}

const UNKNOWN = 'not known'

function inWords(seconds: number): string {
  return `${seconds.toFixed(2)} s`
}
