import { element, label, line, picture, type Svg } from './svg.ts'

/** One piece as it came to one node. */
export interface PieceTime {
  readonly node: number
  readonly from: number
  readonly startSeconds: number
  readonly endSeconds: number
}

export interface StripOptions {
  readonly title: string
  readonly subtitle: string
  /** In all; the seed is the first. */
  readonly nodes: number
}

const WIDTH = 760
const LEFT = 70
const RIGHT = 20
const TOP = 90
const ROW = 44
const BOTTOM = 45
const QUIET = '#666'

/** Of the pieces, by the node that gave them; the seed's stands out. */
const COLOURS = [
  '#d1495b',
  '#2e6f95',
  '#67a9a0',
  '#8d6a9f',
  '#c9a227',
  '#5b8c3a',
  '#4b5d8a',
  '#b07d62'
]

/**
 * Draws when each piece came to each node, one row for each receiver, in the colour of the node
 * that gave it. Pieces that come at the same time lie above each other.
 */
export function drawStrip(pieces: readonly PieceTime[], options: StripOptions): Svg {
  const endSeconds = Math.max(...pieces.map(piece => piece.endSeconds))
  const x = (seconds: number) => LEFT + (seconds / endSeconds) * (WIDTH - LEFT - RIGHT)
  const height = TOP + (options.nodes - 1) * ROW + BOTTOM
  const nodes = Array.from({ length: options.nodes }, (_, index) => index)
  return picture(
    options.title,
    WIDTH,
    height,
    label(LEFT, 26, options.title, { 'font-size': 17, 'font-weight': 600 }),
    label(LEFT, 46, options.subtitle, { fill: QUIET }),
    ...nodes.map(node =>
      element(
        'g',
        { transform: `translate(${LEFT + node * 80} 60)` },
        element('rect', { width: 10, height: 10, fill: colourOf(node) }),
        label(15, 10, node === 0 ? 'the seed' : `node ${node + 1}`, { 'font-size': 12 })
      )
    ),
    ...nodes.slice(1).map(node =>
      drawRow(
        pieces.filter(piece => piece.node === node),
        node,
        x
      )
    ),
    ...ticksOf(endSeconds).flatMap(seconds => [
      line(x(seconds), TOP - 4, x(seconds), height - BOTTOM, {
        stroke: '#ccc',
        'stroke-width': 0.5
      }),
      label(x(seconds), height - BOTTOM + 18, `${seconds} s`, { anchor: 'middle', fill: QUIET })
    ])
  )
}

function drawRow(pieces: readonly PieceTime[], node: number, x: (seconds: number) => number): Svg {
  const top = TOP + (node - 1) * ROW
  const lanes = lanesOf(pieces)
  const height = (ROW - 8) / Math.max(1, lanes.length)
  const bars = lanes.flatMap((lane, index) =>
    lane.map(({ startSeconds, endSeconds, from }) =>
      element('rect', {
        x: x(startSeconds),
        y: top + index * height,
        width: Math.max(0.5, x(endSeconds) - x(startSeconds) - 0.3),
        height: Math.max(0.5, height - 0.5),
        fill: colourOf(from)
      })
    )
  )
  const name = label(LEFT - 8, top + ROW / 2, `node ${node + 1}`, {
    anchor: 'end',
    'font-size': 12
  })
  return element('g', {}, name, ...bars)
}

/** Puts pieces into as few lanes as hold them without overlap. */
function lanesOf(pieces: readonly PieceTime[]): PieceTime[][] {
  const lanes: PieceTime[][] = []
  for (const piece of pieces.toSorted((a, b) => a.startSeconds - b.startSeconds)) {
    const free = lanes.find(lane => (lane.at(-1)?.endSeconds ?? 0) <= piece.startSeconds)
    if (free === undefined) lanes.push([piece])
    else free.push(piece)
  }
  return lanes
}

function ticksOf(endSeconds: number): number[] {
  const step =
    [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100].find(each => endSeconds / each <= 10) ?? 200
  return Array.from({ length: Math.floor(endSeconds / step) + 1 }, (_, index) =>
    Number((index * step).toFixed(1))
  )
}

function colourOf(node: number): string {
  return COLOURS[node % COLOURS.length] ?? QUIET
}
