import type { Random } from '../../clock.ts'
import { cheapest, choosePiece } from './choose.ts'
import type { Limits } from './limits.ts'
import type { Effect } from './messages.ts'
import { deadlineMs, hasRoom, miss, type Peer } from './peer.ts'
import { endRequest, type Link, type Request, type Swarm } from './swarm.ts'

/** A piece is asked of a second neighbour when the first has let this much pass, and its own usual time twice. */
const SWAP_AFTER_MS = 200
const SWAP_AFTER_TIMES = 2

/** A third would be paid by everyone for the patience of one. */
const MAX_ASKED = 2

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
  const cap = Math.min(limits.blobPieces, Math.floor(limits.blobBytes / swarm.pieceBytes))
  if (swarm.held.isFull || swarm.asked.count >= Math.max(1, cap)) return
  let open = openLinks(swarm, now)
  while (open.length > 0 && swarm.asked.count < Math.max(1, cap)) {
    if (budget.bytes < swarm.pieceBytes) return
    const choice = choosePiece(swarm, open, now, random) ?? swap(swarm, open, now, random)
    if (choice === undefined) return
    ask(swarm, choice.piece, choice.link, now, effects)
    budget.bytes -= swarm.pieceBytes
    if (!hasRoom(choice.link.peer, now)) open = open.filter(link => link !== choice.link)
  }
}

/** Gives up on requests that are past their deadline, so that the piece can be asked of another. */
export function expireRequests(swarm: Swarm, now: number, effects: Effect[]): void {
  for (const [piece, requests] of swarm.requests) {
    for (const { peer } of requests.filter(({ deadlineMs }) => deadlineMs <= now)) {
      giveUp(swarm, piece, peer, effects)
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
): { piece: number; link: Link } | undefined {
  let oldest: Request | undefined
  let found: { piece: number; link: Link } | undefined
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
    found = { piece, link }
  }
  return found
}

function swapAfterMs({ peer }: Request): number {
  return Math.max(SWAP_AFTER_MS, SWAP_AFTER_TIMES * (peer.pieceMs ?? 0))
}

function ask(swarm: Swarm, piece: number, link: Link, now: number, effects: Effect[]): void {
  const { peer } = link
  const request: Request = {
    peer,
    askedMs: now,
    deadlineMs: now + deadlineMs(peer),
    startedMs: undefined
  }
  const others = swarm.requests.get(piece)
  if (others === undefined) swarm.requests.set(piece, [request])
  else others.push(request)
  swarm.asked.add(piece)
  peer.asked++
  effects.push({ kind: 'want', peer: peer.id, blob: swarm.blob, piece, urgency: swarm.urgency })
}
