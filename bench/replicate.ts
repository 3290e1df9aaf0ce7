import { StarlingError } from '../src/errors.ts'
import { Cluster } from './cluster/cluster.ts'
import { pullInTurn } from './cluster/in-turn.ts'
import { type BenchNode, nodesAt } from './cluster/node.ts'
import { type Spread, spreadOnce } from './cluster/spread.ts'
import { makeDataDir } from './data-dir.ts'
import { type Replicated, replicated, rowsOf, shortfallsOf, titleOf } from './replicated.ts'
import { type Findings, failing, together } from './report.ts'

export interface ReplicateOptions {
  /** One cluster after another, of so many nodes each, the seed included. */
  readonly nodes: readonly number[]
  /** Of each blob, in bytes. */
  readonly size: number
  readonly blobs: number
  /** Bits per second of each node's link, or `none` for the loopback interface. */
  readonly link: number | 'none'
  readonly runs: number
  readonly data?: string
  readonly against?: readonly string[]
  readonly registry?: string
  /** The efficiency of the last node that is to be shown. */
  readonly expect?: number
}

/**
 * Pushes blobs to one node and times when each other node holds them, durably: `seconds` from the
 * moment the push is answered, `fromFirstByte` from the first byte pushed. Throws `CONFIG_INVALID`
 * when the cluster cannot be set up as asked.
 */
export async function benchReplicate(options: ReplicateOptions): Promise<Findings> {
  const results: Replicated[] = []
  if (options.against === undefined) {
    for (const count of options.nodes) results.push(await replicate(options, count))
  } else {
    results.push(await replicateAgainst(options, options.against))
  }
  const findings = results.map(json => ({
    ...{ title: titleOf(json), rows: rowsOf(json), json },
    ...failing(options.expect === undefined ? [] : shortfallsOf(json, options.expect))
  }))
  return together('replicate', findings)
}

/** Measures one cluster of the bench's own, and takes it down. */
export async function replicate(options: ReplicateOptions, count: number): Promise<Replicated> {
  if (count < 2) throw new StarlingError('CONFIG_INVALID', '--nodes: two or more are needed')
  const { link, data } = options
  await using dir = await makeDataDir(data)
  const cluster = await Cluster.start({ nodes: count, link, dir: dir.path })
  try {
    const before = await cluster.lineRate()
    const spreads = await spread(cluster.nodes, options)
    // A line that was measured in a busy moment would flatter what went through it.
    const bytesPerSecond = Math.max(before, await cluster.lineRate())
    const { nodes } = cluster
    return await replicated(nodes, spreads, {
      ...{ ...options, bytesPerSecond, medium: dir.medium },
      ...(link === 'none' && {
        inTurnBytesPerSecond: await pullInTurn(nodes, options.blobs * options.size)
      })
    })
  } finally {
    await cluster.close()
  }
}

async function replicateAgainst(
  options: ReplicateOptions,
  admins: readonly string[]
): Promise<Replicated> {
  if (options.registry === undefined || admins.length < 2) {
    throw new StarlingError(
      'CONFIG_INVALID',
      '--against needs two admin URLs or more, and --registry'
    )
  }
  const nodes = nodesAt(admins, new URL(options.registry).host)
  // What lies between its nodes cannot be measured from here.
  return replicated(nodes, await spread(nodes, options), {
    ...{ ...options, link: 'unknown' as const, bytesPerSecond: Number.NaN },
    medium: `cluster at ${options.registry}`
  })
}

async function spread(nodes: readonly BenchNode[], options: ReplicateOptions): Promise<Spread[]> {
  const spreads: Spread[] = []
  for (let run = 0; run < options.runs; run++) {
    spreads.push(await spreadOnce(nodes, options.blobs, options.size))
  }
  return spreads
}
