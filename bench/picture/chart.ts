import { element, label, line, picture, type Svg } from './svg.ts'

export interface Point {
  readonly x: number
  readonly y: number
}

export interface Series {
  readonly name: string
  readonly colour: string
  /** Measured points stand by themselves, calculated ones are joined. */
  readonly mark: 'dots' | 'line' | 'dashes'
  readonly points: readonly Point[]
}

export interface ChartOptions {
  readonly title: string
  readonly subtitle: string
  readonly xTitle: string
  readonly yTitle: string
}

const WIDTH = 760
const HEIGHT = 430
const LEFT = 60
const RIGHT = 225
const TOP = 70
const BOTTOM = 55
const GRID = { stroke: '#ddd', 'stroke-width': 1 }
const QUIET = '#666'

/** Doublings between the outermost points and the edges. */
const MARGIN = 0.25

/** Names of series stand at their ends; each needs this much room, about. */
const LABEL_HEIGHT = 17
const LABEL_WIDTH = 220

/** Draws series over axes that are both logarithmic to base 2: a doubling is the same step everywhere. */
export function drawChart(series: readonly Series[], options: ChartOptions): Svg {
  const points = series.flatMap(each => each.points)
  const x = axis(
    points.map(point => point.x),
    LEFT,
    WIDTH - RIGHT
  )
  const y = axis(
    points.map(point => point.y),
    HEIGHT - BOTTOM,
    TOP
  )
  return picture(
    options.title,
    WIDTH,
    HEIGHT,
    label(LEFT, 26, options.title, { 'font-size': 17, 'font-weight': 600 }),
    label(LEFT, 46, options.subtitle, { fill: QUIET }),
    ...y.ticks.flatMap(value => [
      line(LEFT, y.at(value), WIDTH - RIGHT, y.at(value), GRID),
      label(LEFT - 8, y.at(value) + 4, String(value), { anchor: 'end', fill: QUIET })
    ]),
    ...x.ticks.map(value =>
      label(x.at(value), HEIGHT - BOTTOM + 20, String(value), { anchor: 'middle', fill: QUIET })
    ),
    label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12, options.xTitle, { anchor: 'middle' }),
    label(0, 0, options.yTitle, {
      anchor: 'middle',
      transform: `translate(16 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)`
    }),
    ...series.map(each => drawSeries(each, x.at, y.at)),
    ...drawNames(series, x.at, y.at)
  )
}

type At = (value: number) => number

function axis(values: readonly number[], from: number, to: number): { at: At; ticks: number[] } {
  const low = Math.log2(Math.min(...values)) - MARGIN
  const high = Math.log2(Math.max(...values)) + MARGIN
  const first = Math.ceil(low)
  return {
    at: value => from + ((Math.log2(value) - low) / (high - low)) * (to - from),
    ticks: Array.from({ length: Math.floor(high) - first + 1 }, (_, step) => 2 ** (first + step))
  }
}

function drawSeries({ colour, mark, points }: Series, x: At, y: At): Svg {
  if (mark === 'dots') {
    const dot = { r: 5, fill: colour, stroke: '#fff', 'stroke-width': 1.5 }
    return element(
      'g',
      {},
      ...points.map(point => element('circle', { cx: x(point.x), cy: y(point.y), ...dot }))
    )
  }
  return element('polyline', {
    points: points.map(point => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`).join(' '),
    fill: 'none',
    stroke: colour,
    'stroke-width': mark === 'dashes' ? 1.5 : 2.5,
    ...(mark === 'dashes' && { 'stroke-dasharray': '5 4' })
  })
}

/** At the ends of the lines, moved apart where they would overlap. */
function drawNames(series: readonly Series[], x: At, y: At): Svg[] {
  const ends = series.flatMap(({ name, colour, mark, points }) => {
    const last = points.at(-1)
    // A line may run on below a dot.
    const above = mark === 'dots' ? LABEL_HEIGHT : 0
    return last === undefined ? [] : [{ name, colour, x: x(last.x), y: y(last.y) - above }]
  })
  ends.sort((a, b) => b.y - a.y)
  const placed: Point[] = []
  return ends.map(({ name, colour, x, y }) => {
    const beside = placed.filter(other => Math.abs(other.x - x) < LABEL_WIDTH)
    const at = Math.min(y, ...beside.map(other => other.y - LABEL_HEIGHT))
    placed.push({ x, y: at })
    return label(x + 10, at + 4, name, { fill: colour, 'font-weight': 600 })
  })
}
