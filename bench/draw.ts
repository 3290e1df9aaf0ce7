import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StarlingError } from '../src/errors.ts'
import { formatRate, formatSize } from './measure.ts'
import { drawChart, type Point, type Series } from './picture/chart.ts'
import { drawStrip } from './picture/strip.ts'
import type { Replicated } from './replicated.ts'
import type { Simulated } from './simulate.ts'

export interface ReportOptions {
  /** What `replicate` and `simulate` wrote with `--json`. */
  readonly files: readonly string[]
  /** The directory that the pictures are written to. */
  readonly out: string
}

type Saved = Replicated | Simulated

/** What the simulated policies are called in the picture, and how they are drawn. */
const POLICIES = {
  'whole-blob': { name: 'whole blobs, simulated', colour: '#b07d62' },
  kraken: { name: "Kraken's constants, simulated", colour: '#8d6a9f' },
  starling: { name: 'Starling, simulated', colour: '#2e6f95' }
} as const

/**
 * Draws `spread.svg`, the time until every node holds a blob against the number of nodes, and
 * `pieces.svg`, how the pieces came in one simulated run, if a file tells it (`simulate --pieces`).
 * Throws `CONFIG_INVALID` for files that other programs wrote.
 */
export async function benchReport({ files, out }: ReportOptions): Promise<void> {
  const saved = (await Promise.all(files.map(read))).flat()
  await mkdir(out, { recursive: true })
  const pictures = { 'spread.svg': spreadOf(saved), 'pieces.svg': piecesOf(saved) }
  for (const [name, svg] of Object.entries(pictures)) {
    if (svg === undefined) continue
    await writeFile(join(out, name), svg)
    console.log(join(out, name))
  }
}

async function read(file: string): Promise<Saved[]> {
  // Written by another run of this program, so only what it is about is looked at.
  const content = JSON.parse(await readFile(file, 'utf8')) as Saved & { results?: Saved[] }
  if (content.bench !== 'replicate' && content.bench !== 'simulate') {
    throw new StarlingError('CONFIG_INVALID', `${file} is of neither replicate nor simulate`)
  }
  return content.results ?? [content]
}

function spreadOf(saved: readonly Saved[]): string | undefined {
  const simulated = saved.filter(each => each.bench === 'simulate')
  const real = saved.filter(each => each.bench === 'replicate')
  const [first] = [...real, ...simulated]
  if (first === undefined) return undefined
  const series: Series[] = Object.entries(POLICIES).map(([policy, style]) => ({
    ...style,
    mark: 'line',
    points: pointsOf(simulated.filter(each => each.policy === policy))
  }))
  // Of the pieces that Starling uses; that of larger ones would be passed.
  const bound = simulated
    .filter(({ policy }) => policy === 'starling')
    .map(each => ({ x: each.nodes, y: copies(each, each.ownBoundSeconds) }))
  series.push(
    { name: 'lower bound', colour: '#777', mark: 'dashes', points: inOrder(bound) },
    { name: 'Starling, measured', colour: '#d1495b', mark: 'dots', points: pointsOf(real) }
  )
  const size = formatSize(first.sizeBytes)
  const where = typeof first.link === 'number' ? `links of ${formatRate(first.link)}` : 'loopback'
  return drawChart(
    series.filter(({ points }) => points.length > 0),
    {
      title: `How soon does every node hold a blob of ${size}?`,
      subtitle: `Pushed to one node, ${where}, both ways. 1 is one copy over one link with plain TCP.`,
      xTitle: 'nodes',
      yTitle: 'time until the last node has it'
    }
  )
}

/** Of the last node, from the first byte pushed. */
function pointsOf(saved: readonly Saved[]): readonly Point[] {
  return inOrder(
    saved.map(each => {
      const { p100 } = each.bench === 'replicate' ? each.fromFirstByte : each.seconds
      return { x: each.nodes, y: copies(each, p100) }
    })
  )
}

/** A time as so many times what one copy over one link takes. */
function copies({ sizeBytes, lineRateBytesPerSecond }: Saved, seconds: number): number {
  return (seconds * lineRateBytesPerSecond) / sizeBytes
}

function inOrder(points: readonly Point[]): readonly Point[] {
  return [...new Map(points.map(point => [point.x, point])).values()].sort((a, b) => a.x - b.x)
}

function piecesOf(saved: readonly Saved[]): string | undefined {
  for (const run of saved) {
    if (run.bench !== 'simulate' || run.pieces === undefined) continue
    return drawStrip(run.pieces, {
      title: `Where the pieces of ${formatSize(run.sizeBytes)} came from, and when`,
      subtitle: `${run.nodes} simulated nodes, links of ${formatRate(run.link)}, pieces of ${formatSize(run.pieceBytes)}`,
      nodes: run.nodes
    })
  }
  return undefined
}
