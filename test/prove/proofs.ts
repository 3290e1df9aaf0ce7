/** One figure that a claim needs, at a path of names in what the proof printed. */
export interface Bar {
  readonly path: readonly string[]
  /** The figure at `path` is divided by that at this one. */
  readonly over?: readonly string[]
  readonly least?: number
  readonly most?: number
}

export interface Proof {
  readonly name: string
  /** Arguments of `node`. The exit code is not 0 where the proof itself sees its claim broken. */
  readonly args: readonly string[]
  /** What benches do not judge themselves. */
  readonly bars?: readonly Bar[]
}

const BENCH = ['bench/main.ts']
const REPLICATE = [...BENCH, 'replicate', '--json', '-', '--runs', '5']
const SHAPED = [...REPLICATE, '--link', '200mbit']
const SIMULATE = [...BENCH, 'simulate', '--nodes', '1000', '--size', '1GiB', '--json', '-']
const ODD = ['--dead', '0.05', '--late', '0.05', '--corrupt', '1']
const ALL_COMPLETE: Bar = { path: ['incomplete'], most: 0 }
const ON_DISK = ['--data', 'results']

/** Every claim that a figure goes with, in the order in which they run. */
export const PROOFS: readonly Proof[] = [
  {
    name: 'pull',
    args: [...BENCH, 'pull', '--runs', '5', '--json', '-'],
    bars: [timesRegistry(1.15), { path: ['ratio', 'nginx'], least: 1 }]
  },
  {
    name: 'push',
    args: [...BENCH, 'push', '--runs', '5', '--json', '-'],
    bars: [timesRegistry(2)]
  },
  {
    name: 'push-disk',
    args: [...BENCH, 'push', '--runs', '5', ...ON_DISK, '--json', '-'],
    bars: [{ path: ['timeOverDd'], most: 1.25 }]
  },
  {
    name: 'manifests',
    args: [...BENCH, 'manifests', '--runs', '5', '--json', '-'],
    // GET at 1, 16 and 64 connections; HEAD follows.
    bars: ['0', '1', '2'].map(index => timesRegistry(10, 'results', index))
  },
  {
    name: 'mixed',
    args: [...BENCH, 'mixed', '--runs', '5', '--json', '-']
  },
  script('huge-layer'),
  script('large-blob'),
  script('many-blobs'),
  script('killed-pushes'),
  script('full-disk'),
  { name: 'conformance', args: ['test/conformance/run.ts'] },
  script('reconciliation'),
  script('lost-takers'),
  script('histories'),
  script('fresh-tags'),
  script('partition'),
  script('collection'),
  { name: 'sim', args: ['test/sim/main.ts'] },
  script('cut-through'),
  script('dying-seed'),
  script('slow-node'),
  script('on-demand'),
  {
    name: 'replicate',
    args: [...SHAPED, '--nodes', '2,4,8', '--size', '512MiB', '--expect', '0.85']
  },
  {
    name: 'replicate-64MiB',
    args: [...SHAPED, '--nodes', '2,4,8', '--size', '64MiB', '--expect', '0.75']
  },
  { name: 'replicate-8MiB', args: [...SHAPED, '--nodes', '8', '--size', '8MiB'] },
  {
    name: 'replicate-200x1MiB',
    args: [...SHAPED, '--nodes', '8', '--size', '1MiB', '--blobs', '200']
  },
  {
    name: 'replicate-unshaped',
    args: [...REPLICATE, '--link', 'none', '--nodes', '4', '--size', '1GiB']
  },
  { name: 'calibrate', args: [...BENCH, 'calibrate', '--json', '-'] },
  { name: 'small', args: [...BENCH, 'small', '--images', '200', '--json', '-'] },
  { name: 'join', args: [...BENCH, 'join', '--size', '2GiB', '--json', '-'] },
  { name: 'simulate', args: [...SIMULATE, '--expect', '0.88'] },
  { name: 'simulate-kraken', args: [...SIMULATE, '--policy', 'kraken'] },
  {
    name: 'simulate-slow',
    args: [...SIMULATE, '--slow', '0.1'],
    bars: [ALL_COMPLETE, { path: ['fast', 'p100'], over: ['fast', 'p50'], most: 1.25 }]
  },
  { name: 'simulate-slow-kraken', args: [...SIMULATE, '--slow', '0.1', '--policy', 'kraken'] },
  { name: 'simulate-odd', args: [...SIMULATE, ...ODD], bars: [ALL_COMPLETE] },
  { name: 'simulate-odd-kraken', args: [...SIMULATE, ...ODD, '--policy', 'kraken'] }
]

function script(name: string): Proof {
  return { name, args: [`test/prove/${name}.ts`] }
}

function timesRegistry(least: number, ...at: string[]): Bar {
  return { path: [...at, 'ratio', 'docker-registry'], least }
}

/** In words, each bar that these figures do not reach; a figure that is not there reaches none. */
export function missedBars(bars: readonly Bar[], figures: unknown): string[] {
  return bars.flatMap(({ path, over, least = -Infinity, most = Infinity }) => {
    const value = figureAt(figures, path) / (over === undefined ? 1 : figureAt(figures, over))
    if (value >= least && value <= most) return []
    const name = [path, over ?? []].flatMap(each => each.join('.') || []).join(' / ')
    const bar = most === Infinity ? `at least ${least}` : `at most ${most}`
    return [`${name} is ${value}, not ${bar}`]
  })
}

function figureAt(figures: unknown, path: readonly string[]): number {
  const value = path.reduce<unknown>(property, figures)
  return typeof value === 'number' ? value : Number.NaN
}

function property(object: unknown, name: string): unknown {
  return typeof object === 'object' && object !== null ? Reflect.get(object, name) : undefined
}
