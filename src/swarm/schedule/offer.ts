import { announce } from './announce.ts'
import type { Limits } from './limits.ts'
import type { Effect } from './messages.ts'
import { deadlineMs } from './peer.ts'
import { endOffer, type Link, type Swarm } from './swarm.ts'

/**
 * Lets a node that is the only source of pieces hand each to one neighbour, and to no other until
 * that one has announced it: so the first copy of the blob leaves it once, not several times, and
 * the neighbours have something to give to each other. Once every piece is offered and none waits,
 * or some neighbour has everything, the rest is announced as by anyone.
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
    reveal(swarm, now)
    return
  }
  const batches = new Map<Link, number[]>()
  let piece = nextUnseen(swarm, 0)
  while (piece !== undefined) {
    const link = leastOffered(links, limits.offerWindow)
    if (link === undefined) break
    link.offering++
    swarm.offered.set(piece, { link, untilMs: now + deadlineMs(link.peer), sent: false })
    const batch = batches.get(link)
    if (batch === undefined) batches.set(link, [piece])
    else batch.push(piece)
    piece = nextUnseen(swarm, piece + 1)
  }
  for (const [{ peer }, pieces] of batches) {
    effects.push({ kind: 'offer', peer: peer.id, blob: swarm.blob, pieces })
  }
  if (piece === undefined) reveal(swarm, now)
}

/** Takes back the offers that were not taken in time: the piece goes to another neighbour. */
export function expireOffers(swarm: Swarm, now: number): void {
  for (const [piece, offer] of swarm.offered) {
    if (offer.untilMs <= now) endOffer(swarm, piece, offer)
  }
}

/** An offered piece has left: until it is announced it waits, but another may be offered. */
export function noteOfferSent(swarm: Swarm, piece: number, peer: string): void {
  const offer = swarm.offered.get(piece)
  if (offer === undefined || offer.sent || offer.link.peer.id !== peer) return
  offer.sent = true
  offer.link.offering--
}

function nextUnseen({ hidden, copies, offered }: Swarm, from: number): number | undefined {
  if (hidden.count === offered.size) return undefined
  for (let piece = from; piece < hidden.length; piece++) {
    if (copies[piece] === 0 && hidden.has(piece) && !offered.has(piece)) return piece
  }
  return undefined
}

function leastOffered(links: readonly Link[], window: number): Link | undefined {
  let best: Link | undefined
  for (const link of links) {
    if (link.offering < (best?.offering ?? window)) best = link
  }
  return best
}

/** Announces what is hidden, except what is on offer: that follows when it is seen or expires. */
function reveal(swarm: Swarm, now: number): void {
  for (const piece of swarm.hidden) {
    if (swarm.offered.has(piece)) continue
    swarm.hidden.delete(piece)
    announce(swarm, piece, now)
  }
}
