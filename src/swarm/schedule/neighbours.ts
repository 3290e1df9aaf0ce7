import { announceAll } from './announce.ts'
import { Bits } from './bits.ts'
import type { Effect, Event } from './messages.ts'
import { noteSeen } from './offer.ts'
import { newPeer, type Peer } from './peer.ts'
import { giveUp } from './request.ts'
import type { Schedule } from './schedule.ts'
import { linkTo, noteHave, type Swarm, unlink } from './swarm.ts'
import { dropUploads } from './upload.ts'

/** Offers beyond it are not remembered: an honest neighbour has but a few under way. */
const MAX_OFFERS = 64

/** A neighbour of the overlay is there: it hears of every swarm, again if it was there before. */
export function meet(schedule: Schedule, id: string, effects: Effect[]): void {
  if (!schedule.peers.has(id)) schedule.peers.set(id, newPeer(id, schedule.limits))
  for (const swarm of schedule.swarms.values()) effects.push(greeting(swarm, id, true))
}

/** A neighbour is gone: what was asked of it is free to be asked of others, and the reverse. */
export function lose(schedule: Schedule, id: string, effects: Effect[]): void {
  const peer = schedule.peers.get(id)
  if (peer === undefined) return
  for (const swarm of schedule.swarms.values()) part(swarm, peer, effects)
  dropUploads(schedule.uploads, upload => upload.peer === id, effects)
  schedule.peers.delete(id)
}

/** A neighbour takes no part in a blob any more. */
export function leave(schedule: Schedule, id: string, blob: string, effects: Effect[]): void {
  const peer = schedule.peers.get(id)
  const swarm = schedule.swarms.get(blob)
  if (peer === undefined || swarm === undefined) return
  part(swarm, peer, effects)
  dropUploads(schedule.uploads, upload => upload.peer === id && upload.blob === blob, effects)
}

/** A neighbour takes part in a blob; one that says so again has started anew. */
export function hear(
  schedule: Schedule,
  { peer: id, blob, held, reply }: Extract<Event, { kind: 'hello' }>,
  now: number,
  effects: Effect[]
): void {
  const { peers, swarms, limits } = schedule
  const peer = peers.get(id)
  const swarm = swarms.get(blob)
  if (peer === undefined || swarm === undefined) return
  const known = swarm.links.get(id)
  if (known !== undefined) unlink(swarm, known)
  const link = linkTo(swarm, peer)
  for (const piece of held) if (piece < swarm.held.length) noteHave(swarm, link, piece)
  if (reply) effects.push(greeting(swarm, id, false))
  else announceAll(swarm, link, limits, now)
}

/** A neighbour has more pieces than it said, or gives us the first claim on some. */
export function learn(
  { swarms }: Schedule,
  { kind, peer, blob, pieces }: Extract<Event, { kind: 'have' | 'offer' }>,
  now: number
): void {
  const swarm = swarms.get(blob)
  const link = swarm?.links.get(peer)
  if (swarm === undefined || link === undefined) return
  for (const piece of pieces) {
    if (!Number.isInteger(piece) || piece < 0 || piece >= swarm.held.length) continue
    if (kind === 'have') {
      noteHave(swarm, link, piece)
      noteSeen(swarm, link, piece, now)
    } else if (link.offers.length < MAX_OFFERS) link.offers.push(piece)
  }
}

function part(swarm: Swarm, peer: Peer, effects: Effect[]): void {
  for (const piece of [...swarm.requests.keys()]) giveUp(swarm, piece, peer, effects)
  const link = swarm.links.get(peer.id)
  if (link !== undefined) unlink(swarm, link)
}

/** What a neighbour is told of a blob at first: all that is held and may be known. */
export function greeting({ blob, held, hidden }: Swarm, peer: string, reply: boolean): Effect {
  const shown = hidden.count === 0 ? held.copy() : new Bits(held.length)
  if (hidden.count > 0) for (const piece of held) if (!hidden.has(piece)) shown.add(piece)
  return { kind: 'hello', peer, blob, held: shown, reply }
}
