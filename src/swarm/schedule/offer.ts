import { announce } from './announce.ts'
import type { Limits } from './limits.ts'
import type { Effect } from './messages.ts'
import { type Peer, runningMean } from './peer.ts'
import { endOffer, type Link, type Swarm } from './swarm.ts'

/** An offer is late after this, and so many times what it usually takes until a piece is seen. */
const MIN_LATE_MS = 200
const LATE_TIMES = 4

/** The same before any was seen: the link may be slow, and the dead are told apart by other means. */
const FIRST_LATE_MS = 60_000

/** Who was late is offered nothing for so many times what counted as late; twice that each time. */
const ASIDE_TIMES = 10
const MAX_DOUBLINGS = 10

/** So many times the window may be unseen: what has left may still wait in the network. */
const UNSEEN_TIMES = 4

/**
 * Lets a node that is the only source of pieces hand each to one neighbour, and to no other until
 * that one has announced it: so the first copy of the blob leaves it once, not several times, and
 * the neighbours have something to give to each other. Once every piece is offered, or some
 * neighbour has everything, what it has is announced as by anyone.
 */
export function offerPieces(
  swarm: Swarm,
  peerCount: number,
  limits: Limits,
  now: number,
  effects: Effect[]
): void {
  if (swarm.hidden.count === 0 || swarm.links.size === 0) return
  const links = [...swarm.links.values()].filter(({ have }) => !have.isFull)
  if (peerCount < 2 || links.length < swarm.links.size) {
    reveal(swarm, limits, now)
    return
  }
  const quick = links.filter(({ asideUntilMs }) => asideUntilMs <= now)
  const takers = quick.length === 0 ? links : quick
  const batches = new Map<Link, number[]>()
  let piece = nextUnseen(swarm, 0)
  while (piece !== undefined) {
    const link = leastOffered(takers, limits.offerWindow)
    if (link === undefined) break
    link.unsent++
    link.unseen++
    swarm.offered.set(piece, { link, sinceMs: now, sent: false })
    const batch = batches.get(link)
    if (batch === undefined) batches.set(link, [piece])
    else batch.push(piece)
    piece = nextUnseen(swarm, piece + 1)
  }
  for (const [{ peer }, pieces] of batches) {
    effects.push({ kind: 'offer', peer: peer.id, blob: swarm.blob, pieces })
  }
  if (piece === undefined) reveal(swarm, limits, now)
}

/**
 * Takes back the offers to a neighbour that is slow in passing pieces on, or dead, or silent: no
 * other has those pieces, and everyone would wait for it. It is offered nothing for a while when
 * there are others; if all are late it is the network that is slow. Measured from the offer to the
 * announcement, since a piece that has left may still wait in some buffer.
 */
export function expireOffers(swarm: Swarm, now: number): void {
  const lateMs =
    swarm.passMs === undefined ? FIRST_LATE_MS : Math.max(MIN_LATE_MS, LATE_TIMES * swarm.passMs)
  for (const [piece, offer] of swarm.offered) {
    if (now - offer.sinceMs < lateMs) continue
    const { link, sinceMs } = offer
    link.asideUntilMs = now + ASIDE_TIMES * lateMs * 2 ** Math.min(link.missed, MAX_DOUBLINGS)
    link.missed++
    endOffer(swarm, piece, offer)
    if (isNobodyQuick(swarm, now)) swarm.passMs = Math.max(swarm.passMs ?? 0, now - sinceMs)
  }
}

/** A neighbour announces a piece: if it was offered to it, that is how long passing on takes. */
export function noteSeen(swarm: Swarm, link: Link, piece: number, now: number): void {
  const offer = swarm.offered.get(piece)
  if (offer?.link !== link) return
  swarm.passMs = runningMean(swarm.passMs, now - offer.sinceMs)
  endOffer(swarm, piece, offer)
}

/** An offered piece has left: until it is announced it waits, but another may be offered. */
export function noteOfferSent(swarm: Swarm, piece: number, peer: Peer): void {
  const offer = swarm.offered.get(piece)
  if (offer === undefined || offer.sent || offer.link.peer !== peer) return
  offer.sent = true
  offer.link.unsent--
}

function isNobodyQuick({ links }: Swarm, now: number): boolean {
  for (const { asideUntilMs } of links.values()) if (asideUntilMs <= now) return false
  return true
}

function nextUnseen({ hidden, copies, offered }: Swarm, from: number): number | undefined {
  if (hidden.count === offered.size) return undefined
  for (let piece = from; piece < hidden.end; piece++) {
    if (hidden.words[piece >>> 5] === 0) piece |= 31
    else if (copies[piece] === 0 && hidden.has(piece) && !offered.has(piece)) return piece
  }
  return undefined
}

/** Among those with room the one that has the least to pass on, then the one least often late. */
function leastOffered(links: readonly Link[], window: number): Link | undefined {
  let best: Link | undefined
  for (const link of links) {
    if (link.unsent >= window || link.unseen >= UNSEEN_TIMES * window) continue
    const order = best === undefined ? -1 : link.unseen - best.unseen || link.missed - best.missed
    if (order < 0) best = link
  }
  return best
}

/** Announces what is hidden, except what is on offer: that follows when it is seen or expires. */
function reveal(swarm: Swarm, limits: Limits, now: number): void {
  for (const piece of swarm.hidden) {
    if (swarm.offered.has(piece)) continue
    swarm.hidden.delete(piece)
    announce(swarm, piece, limits, now)
  }
}
