import { StarlingError } from '../src/errors.ts'
import { agreedPieceBytes, boundOf } from './bound.ts'
import { formatSize, median, plural } from './measure.ts'
import { type Findings, failing, together } from './report.ts'
import { kraken } from './simulation/kraken.ts'
import type { Outcome } from './simulation/outcome.ts'
import { type Policy, starling } from './simulation/policy.ts'
import { makeScenario } from './simulation/scenario.ts'
import { type PieceTrace, simulate } from './simulation/simulation.ts'
import { wholeBlob } from './simulation/whole-blob.ts'

export const POLICIES = ['starling', 'kraken', 'whole-blob'] as const

export interface SimulateOptions {
  readonly nodes: number
  readonly size: number
  /** Bits per second of every link, each way. */
  readonly link: number
  readonly slow: number
  readonly dead: number
  readonly late: number
  readonly corrupt: number
  readonly seed: number
  readonly policy: (typeof POLICIES)[number]
  readonly rings?: number
  readonly pieceSize?: number
  /** The efficiency of the last fast node that is to be shown. */
  readonly expect?: number
  /** Also tell when each piece came to each node, for a picture. */
  readonly pieces?: boolean
}

/** What one simulated spread came to; its fields are those of the JSON. */
export type Simulated = ReturnType<typeof simulated> & { readonly pieces?: readonly PieceTrace[] }

/** One simulation after another, for clusters of several sizes; see {@link simulateSpread}. */
export function benchSimulate(
  options: Omit<SimulateOptions, 'nodes'> & { readonly nodes: readonly number[] }
): Findings {
  const findings = options.nodes.map(nodes => simulateSpread({ ...options, nodes }))
  return together('simulate', findings)
}

/**
 * Spreads a blob over many nodes in a simulated network, with the overlay and the scheduler of the
 * daemon or with a rival in their place, and tells how near the end comes to the lower bound.
 * Throws `CONFIG_INVALID` for what cannot be simulated.
 */
export function simulateSpread(options: SimulateOptions): Findings & { readonly json: Simulated } {
  if (options.nodes < 2)
    throw new StarlingError('CONFIG_INVALID', '--nodes: two or more are needed')
  const odd = options.slow + options.dead + options.late + options.corrupt / options.nodes
  if (odd > 1) throw new StarlingError('CONFIG_INVALID', 'more odd nodes are asked for than nodes')
  const policy = policyOf(options)
  const sizeBytes = options.size
  const bytesPerSecond = options.link / 8
  const receivers = options.nodes - 1
  const boundSeconds = boundOf(sizeBytes, agreedPieceBytes(sizeBytes), receivers, bytesPerSecond)
  const startMs = performance.now()
  const scenario = makeScenario({ ...options, sizeBytes, bytesPerSecond })
  const traces: PieceTrace[] = []
  const outcome = options.pieces
    ? simulate(scenario, policy, boundSeconds, trace => traces.push(trace))
    : simulate(scenario, policy, boundSeconds)
  const wallSeconds = (performance.now() - startMs) / 1000
  const json = {
    ...simulated(options, policy, outcome, { boundSeconds, wallSeconds }),
    ...(options.pieces && { pieces: traces })
  }
  return {
    ...{ title: titleOf(json), rows: rowsOf(json), json },
    ...failing(shortfallsOf(json, options.expect ?? 0))
  }
}

function shortfallsOf({ receivers, incomplete, fastEfficiency }: Simulated, efficiency: number) {
  if (incomplete > 0) return [`1 node to ${receivers}: ${plural(incomplete, 'node')} not complete`]
  if (fastEfficiency.p100 >= efficiency) return []
  const found = fastEfficiency.p100.toFixed(3)
  return [`1 node to ${receivers}: efficiency ${found}, expected ${efficiency}`]
}

function policyOf({ policy, rings, pieceSize }: SimulateOptions): Policy {
  switch (policy) {
    case 'starling':
      return starling({
        ...(rings !== undefined && { rings }),
        ...(pieceSize !== undefined && { pieceBytes: pieceSize })
      })
    case 'kraken':
      return kraken
    case 'whole-blob':
      return wholeBlob
    default:
      return policy satisfies never
  }
}

function simulated(
  options: SimulateOptions,
  policy: Policy,
  outcome: Outcome,
  { boundSeconds, wallSeconds }: { boundSeconds: number; wallSeconds: number }
) {
  const { nodes, size, link, slow, dead, late, corrupt, seed } = options
  const complete = outcome.incomplete === 0
  const seconds = percentiles(outcome.seconds.map(each => each.seconds))
  const fast = percentiles(
    outcome.seconds.filter(({ role }) => role !== 'slow').map(each => each.seconds)
  )
  const efficiencyOf = ({ p50, p100 }: Percentiles) => ({
    p50: boundSeconds / p50,
    p100: complete ? boundSeconds / p100 : 0
  })
  const ownBoundSeconds = boundOf(size, policy.pieceBytes(size), nodes - 1, link / 8)
  return {
    bench: 'simulate' as const,
    simulated: true,
    policy: policy.name,
    nodes,
    receivers: nodes - 1,
    sizeBytes: size,
    pieceBytes: policy.pieceBytes(size),
    link,
    slow,
    dead,
    late,
    corrupt,
    seed,
    lineRateBytesPerSecond: link / 8,
    boundSeconds,
    ownBoundSeconds,
    seconds,
    fromFirstByte: null,
    fast,
    efficiency: efficiencyOf(seconds),
    fastEfficiency: efficiencyOf(fast),
    incomplete: outcome.incomplete,
    seedEgressRatio: outcome.seedEgressRatio,
    duplicateRatio: complete ? outcome.duplicateRatio : null,
    controlMessages: outcome.controlMessages,
    cpuShare: null,
    peakRssBytes: null,
    valid: complete,
    events: outcome.events,
    wallSeconds
  }
}

function titleOf({ sizeBytes, receivers, policy }: Simulated): string {
  return `simulate: ${formatSize(sizeBytes)} from 1 node to ${receivers}, ${policy} (simulated)`
}

function rowsOf(result: Simulated): [string, string][] {
  const { seconds, fast, boundSeconds, ownBoundSeconds, duplicateRatio, valid } = result
  const ownEfficiency = valid ? ownBoundSeconds / fast.p100 : 0
  return [
    [
      'all fast nodes hold it after',
      `${fast.p100.toFixed(2)} s (half of them ${fast.p50.toFixed(2)} s)`
    ],
    ['all nodes hold it after', valid ? `${seconds.p100.toFixed(2)} s` : 'never'],
    ['not complete', plural(result.incomplete, 'node')],
    [
      'bound',
      `${boundSeconds.toFixed(2)} s, so efficiency ${result.fastEfficiency.p100.toFixed(3)}`
    ],
    [
      'bound for these pieces',
      `${ownBoundSeconds.toFixed(2)} s, so efficiency ${ownEfficiency.toFixed(3)}`
    ],
    ['last to median, fast nodes', (fast.p100 / fast.p50).toFixed(3)],
    ['seed sent', `${result.seedEgressRatio.toFixed(2)} sizes`],
    [
      'received twice',
      duplicateRatio === null ? 'not known' : `${(100 * duplicateRatio).toFixed(2)} %`
    ],
    ['events', `${result.events} in ${result.wallSeconds.toFixed(1)} s`]
  ]
}

interface Percentiles {
  readonly p50: number
  readonly p100: number
}

function percentiles(values: readonly number[]): Percentiles {
  return values.length === 0
    ? { p50: Number.NaN, p100: Number.NaN }
    : { p50: median(values), p100: values.reduce((most, each) => Math.max(most, each), 0) }
}
