import type { Random } from '../../clock.ts'
import { costOf } from './peer.ts'
import type { Link, Swarm } from './swarm.ts'

/** A client that waits gets this much in order; beyond it the rarest piece still goes first. */
const AWAITED_BYTES = 16 * 1024 * 1024
const MIN_AWAITED_PIECES = 4

/** A piece and whom to ask for it. */
export interface Choice {
  readonly piece: number
  readonly link: Link
  /** Whether it was offered to us. */
  readonly isClaim: boolean
}

/**
 * What to ask for next, of these neighbours: what a client waits for; else what was offered to us;
 * else the piece that the fewest neighbours have, by chance among equals.
 */
export function choosePiece(
  swarm: Swarm,
  open: readonly Link[],
  now: number,
  random: Random
): Choice | undefined {
  return awaited(swarm, open, now) ?? claimOffer(swarm, open) ?? rarest(swarm, open, now, random)
}

/** The next piece that was offered to us and that we still lack. */
export function claimOffer(swarm: Swarm, open: readonly Link[]): Choice | undefined {
  for (const link of open) {
    while (link.offers.length > 0) {
      const piece = link.offers.shift()
      if (piece !== undefined && !swarm.held.has(piece) && !swarm.asked.has(piece)) {
        return { piece, link, isClaim: true }
      }
    }
  }
  return undefined
}

/** Of the neighbours that have a piece, the one that will give it soonest. */
export function cheapest(
  open: readonly Link[],
  piece: number,
  now: number,
  random: Random
): Link | undefined {
  let best: Link | undefined
  let bestCost = Number.POSITIVE_INFINITY
  const start = Math.floor(random() * open.length)
  for (let step = 0; step < open.length; step++) {
    const link = open[(start + step) % open.length]
    if (link?.have.has(piece) !== true) continue
    const cost = costOf(link.peer, now)
    if (cost < bestCost) {
      bestCost = cost
      best = link
    }
  }
  return best
}

function awaited(swarm: Swarm, open: readonly Link[], now: number): Choice | undefined {
  if (swarm.urgency !== 'awaited') return undefined
  const pieces = Math.max(MIN_AWAITED_PIECES, Math.floor(AWAITED_BYTES / swarm.pieceBytes))
  const end = Math.min(swarm.held.length, swarm.cursor + pieces)
  for (let piece = swarm.cursor; piece < end; piece++) {
    if (swarm.held.has(piece) || swarm.asked.has(piece)) continue
    const link = open.find(({ offers }) => offers.includes(piece)) ?? first(open, piece, now)
    if (link !== undefined) return { piece, link, isClaim: false }
  }
  return undefined
}

/** No draw among equals here: in order, the cheapest is as good as any. */
function first(open: readonly Link[], piece: number, now: number): Link | undefined {
  return cheapest(open, piece, now, () => 0)
}

/**
 * First whom to ask, then what: were it the reverse, everyone would queue for the rarest pieces at
 * the few that have them, while others have nothing to send.
 */
function rarest(
  swarm: Swarm,
  open: readonly Link[],
  now: number,
  random: Random
): Choice | undefined {
  let left = open
  while (left.length > 0) {
    const link = soonest(left, now, random)
    const piece = link && rarestOf(swarm, link, random)
    if (link === undefined) return undefined
    if (piece !== undefined) return { piece, link, isClaim: false }
    left = left.filter(each => each !== link)
  }
  return undefined
}

/** The neighbour that is expected to give another piece soonest, by chance among equals. */
function soonest(links: readonly Link[], now: number, random: Random): Link | undefined {
  let best: Link | undefined
  let bestCost = Number.POSITIVE_INFINITY
  const start = Math.floor(random() * links.length)
  for (let step = 0; step < links.length; step++) {
    const link = links[(start + step) % links.length]
    const cost = link === undefined ? Number.POSITIVE_INFINITY : costOf(link.peer, now)
    if (cost >= bestCost) continue
    bestCost = cost
    best = link
  }
  return best
}

/**
 * Two passes over the pieces rather than a draw at each tie: this is the hottest loop of the
 * scheduler, and a blob has up to some thousand pieces.
 */
function rarestOf(swarm: Swarm, link: Link, random: Random): number | undefined {
  const { copies } = swarm
  const words = (link.have.end + 31) >>> 5
  let fewest = 256
  let ties = 0
  for (let word = 0; word < words; word++) {
    for (let bits = candidates(swarm, link, word); bits !== 0; bits &= bits - 1) {
      const count = copies[(word << 5) + trailingZeros(bits)] ?? 0
      if (count < fewest) {
        fewest = count
        ties = 1
      } else if (count === fewest) ties++
    }
  }
  let skip = Math.floor(random() * ties)
  for (let word = 0; word < words; word++) {
    for (let bits = candidates(swarm, link, word); bits !== 0; bits &= bits - 1) {
      const piece = (word << 5) + trailingZeros(bits)
      if (copies[piece] === fewest && skip-- === 0) return piece
    }
  }
  return undefined
}

/** The pieces of one word of the bit sets that a neighbour has and that are not asked for. */
function candidates({ held, asked }: Swarm, { have }: Link, word: number): number {
  return (have.words[word] ?? 0) & ~((held.words[word] ?? 0) | (asked.words[word] ?? 0))
}

function trailingZeros(bits: number): number {
  return 31 - Math.clz32(bits & -bits)
}
