import { StarlingError } from '../src/errors.ts'
import { formatRate, formatSize, plural } from './measure.ts'
import { replicate } from './replicate.ts'
import type { Replicated } from './replicated.ts'
import { type Findings, failing } from './report.ts'
import { type Simulated, simulateSpread } from './simulate.ts'

export interface CalibrateOptions {
  readonly nodes: readonly number[]
  /** Of the blob, in bytes. */
  readonly size: number
  /** Bits per second of each node's link. */
  readonly link: number | 'none'
  readonly runs: number
  readonly data?: string
}

/** What a simulation may be off by and still be believed. */
const MAX_DIFFERENCE = 0.15

/** Nothing odd about any node: that is what real links are compared with. */
const PLAIN = { slow: 0, dead: 0, late: 0, corrupt: 0, seed: 1, policy: 'starling' } as const

/**
 * Spreads a blob over real nodes and over simulated ones whose links have the rate that plain TCP
 * reached on the real ones, and compares. Throws `CONFIG_INVALID` when the nodes cannot be set up.
 */
export async function benchCalibrate(options: CalibrateOptions): Promise<Findings> {
  const { nodes, size, link, runs } = options
  if (link === 'none') {
    throw new StarlingError('CONFIG_INVALID', '--link: only links of a known rate are simulated')
  }
  const compared: Compared[] = []
  for (const count of nodes) {
    const real = await replicate({ ...options, blobs: 1 }, count)
    const bitsPerSecond = 8 * real.lineRateBytesPerSecond
    const { json } = simulateSpread({ ...PLAIN, nodes: count, size, link: bitsPerSecond })
    compared.push(compare(real, json))
  }
  const worst = Math.max(...compared.map(({ difference }) => Math.abs(difference.p100)))
  const valid = compared.every(each => each.valid)
  return {
    title: `calibrate: ${formatSize(size)}, ${formatRate(link)}, ${plural(runs, 'run')}: real beside simulated`,
    rows: compared.map(rowOf),
    json: { bench: 'calibrate', sizeBytes: size, link, runs, results: compared, worst, valid },
    ...failing(failuresOf(worst, valid))
  }
}

type Compared = ReturnType<typeof compare>

/**
 * Pieces leave the real seed while the push still streams in, and they leave the simulated one from
 * the start, so it is from the first byte pushed that the two are comparable.
 */
function compare(real: Replicated, simulated: Simulated) {
  const { fromFirstByte } = real
  const { seconds } = simulated
  return {
    nodes: real.nodes,
    lineRateBytesPerSecond: real.lineRateBytesPerSecond,
    boundSeconds: real.boundSeconds,
    real: fromFirstByte,
    simulated: seconds,
    difference: {
      p50: fromFirstByte.p50 / seconds.p50 - 1,
      p100: fromFirstByte.p100 / seconds.p100 - 1
    },
    cpuShare: real.cpuShare,
    valid: real.valid
  }
}

function failuresOf(worst: number, valid: boolean): string[] {
  if (worst <= MAX_DIFFERENCE) return []
  const off = `real and simulated times are ${percent(worst)} apart, ${percent(MAX_DIFFERENCE)} are allowed`
  return [valid ? off : `${off}; but the processors were busy above 80 %`]
}

function rowOf({ nodes, real, simulated, difference, cpuShare }: Compared): [string, string] {
  const times = `all hold it after ${real.p100.toFixed(2)} s, simulated ${simulated.p100.toFixed(2)} s`
  const apart = `${difference.p100 < 0 ? '' : '+'}${percent(difference.p100)}`
  return [`${nodes} nodes`, `${times}: ${apart} (processors ${percent(cpuShare)} busy)`]
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`
}
