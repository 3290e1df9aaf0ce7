import type { Random } from '../../clock.ts'
import { type Choice, cheapest, choosePiece, claimOffer } from './choose.ts'
import type { Limits } from './limits.ts'
import type { Effect } from './messages.ts'
import { deadlineMs, hasRoom, miss, noteLate, type Peer } from './peer.ts'
import { endRequest, type Link, type Request, type Swarm } from './swarm.ts'

/** A piece is asked of a second neighbour when the first has let this much pass, and its own usual time twice. */
const SWAP_AFTER_MS = 200
const SWAP_AFTER_TIMES = 2

/** A third would be paid by everyone for the patience of one. */
const MAX_ASKED = 2

/**
 * Pieces offered to us come on top of the cap, up to so many times the cap in all: they wait at a
 * busy source, and were they counted its neighbours would ask less of others and end last (by 3 %
 * in `bench simulate --nodes 300 --size 256MiB`).
 */
const CLAIMS_TIMES = 2

/** What may still be asked for by the node as a whole, in bytes. */
export interface Budget {
  bytes: number
}

/** Asks for pieces of a blob until the windows, the caps or the pieces are used up. */
export function requestPieces(
  swarm: Swarm,
  budget: Budget,
  limits: Limits,
  now: number,
  random: Random,
  effects: Effect[]
): void {
  if (swarm.held.isFull) return
  const cap = capOf(swarm, limits)
  let open = openLinks(swarm, now)
  while (open.length > 0 && swarm.asked.count < CLAIMS_TIMES * cap) {
    if (budget.bytes < swarm.pieceBytes) return
    const isOpen = swarm.asked.count - swarm.claims < cap
    const choice = isOpen
      ? (choosePiece(swarm, open, now, random) ?? swap(swarm, open, now, random))
      : claimOffer(swarm, open)
    if (choice === undefined) return
    ask(swarm, choice, now, effects)
    budget.bytes -= swarm.pieceBytes
    if (!hasRoom(choice.link.peer, now)) open = open.filter(link => link !== choice.link)
  }
}

/** How many pieces may be asked for at once, claims apart. */
function capOf({ pieceBytes }: Swarm, { blobPieces, blobBytes }: Limits): number {
  return Math.max(1, Math.min(blobPieces, Math.floor(blobBytes / pieceBytes)))
}

/** Gives up on requests that are past their deadline, so that the piece can be asked of another. */
export function expireRequests(swarm: Swarm, now: number, effects: Effect[]): void {
  for (const [piece, requests] of swarm.requests) {
    for (const { peer, askedMs } of requests.filter(({ deadlineMs }) => deadlineMs <= now)) {
      giveUp(swarm, piece, peer, effects)
      noteLate(peer, now - askedMs)
      miss(peer, now)
    }
  }
}

/** Takes a request back. */
export function giveUp(swarm: Swarm, piece: number, peer: Peer, effects: Effect[]): void {
  if (endRequest(swarm, piece, peer) === undefined) return
  effects.push({ kind: 'cancel', peer: peer.id, blob: swarm.blob, piece })
}

/**
 * A piece begins to come in: the other neighbour that was asked for it and has not begun need not,
 * and this one has a new deadline, since its wait in the queue says nothing about the link.
 */
export function noteStarted(
  swarm: Swarm,
  piece: number,
  peer: Peer,
  now: number,
  effects: Effect[]
): void {
  const requests = swarm.requests.get(piece) ?? []
  const started = requests.find(request => request.peer === peer)
  if (started === undefined) return
  started.startedMs = now
  started.deadlineMs = now + deadlineMs(peer)
  for (const other of [...requests]) {
    if (other !== started && other.startedMs === undefined) {
      giveUp(swarm, piece, other.peer, effects)
    }
  }
}

function openLinks(swarm: Swarm, now: number): Link[] {
  const open: Link[] = []
  for (const link of swarm.links.values()) {
    if (hasRoom(link.peer, now) && (link.have.count > 0 || link.offers.length > 0)) open.push(link)
  }
  return open
}

/** When everything is asked for: a piece that a neighbour has been slow to give, from another one. */
function swap(
  swarm: Swarm,
  open: readonly Link[],
  now: number,
  random: Random
): Choice | undefined {
  let oldest: Request | undefined
  let found: Choice | undefined
  for (const [piece, requests] of swarm.requests) {
    const [request] = requests
    if (request === undefined || requests.length >= MAX_ASKED) continue
    if (oldest !== undefined && request.askedMs >= oldest.askedMs) continue
    if (now - request.askedMs < swapAfterMs(request)) continue
    const link = cheapest(
      open.filter(({ peer }) => peer !== request.peer),
      piece,
      now,
      random
    )
    if (link === undefined) continue
    oldest = request
    found = { piece, link, isClaim: false }
  }
  return found
}

function swapAfterMs({ peer }: Request): number {
  return Math.max(SWAP_AFTER_MS, SWAP_AFTER_TIMES * (peer.pieceMs ?? 0))
}

function ask(swarm: Swarm, choice: Choice, now: number, effects: Effect[]): void {
  const { piece, isClaim } = choice
  const { peer } = choice.link
  const request: Request = {
    peer,
    isClaim,
    askedMs: now,
    deadlineMs: now + deadlineMs(peer),
    startedMs: undefined
  }
  const others = swarm.requests.get(piece)
  if (others === undefined) swarm.requests.set(piece, [request])
  else others.push(request)
  swarm.asked.add(piece)
  peer.asked++
  if (isClaim) swarm.claims++
  effects.push({ kind: 'want', peer: peer.id, blob: swarm.blob, piece, urgency: swarm.urgency })
}
