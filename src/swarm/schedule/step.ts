import type { Random } from '../../clock.ts'
import { announce, flushNews } from './announce.ts'
import { begin, drop, forget, hurry, size, sort, takeLocal, urge } from './course.ts'
import type { Effect, Event, PieceOf } from './messages.ts'
import { hear, learn, leave, lose, meet } from './neighbours.ts'
import { expireOffers, noteOfferSent, offerPieces } from './offer.ts'
import { miss, type Peer, praise, strike } from './peer.ts'
import { expireRequests, giveUp, noteStarted, requestPieces } from './request.ts'
import type { Schedule } from './schedule.ts'
import { endRequest, fetchSwarm, ingestSwarm, type Swarm } from './swarm.ts'
import { cancelUpload, easeStuck, endUpload, enqueue, serveNext } from './upload.ts'

/** Whoever asks for what is not here (yet) may come back after this. */
const NOT_HERE_RETRY_MS = 1_000

/**
 * Takes one event and says what is to be done, in that order. All time, chance and input come in by
 * the arguments, so that equal calls give equal effects; `now` is in milliseconds and never goes
 * back. The schedule is changed in place and belongs to this function: a copy of its bit sets at
 * each of the million steps of a gigabyte would cost more than the steps.
 */
export function step(schedule: Schedule, event: Event, now: number, random: Random): Effect[] {
  const effects: Effect[] = []
  handle(schedule, event, now, effects)
  request(schedule, now, random, effects)
  serveNext(schedule.uploads, schedule.swarms, schedule.limits, now, effects)
  if ('blob' in event) spread(schedule, schedule.swarms.get(event.blob), now, effects)
  else for (const swarm of schedule.swarms.values()) spread(schedule, swarm, now, effects)
  return effects
}

function handle(schedule: Schedule, event: Event, now: number, effects: Effect[]): void {
  switch (event.kind) {
    case 'hello':
      hear(schedule, event, now, effects)
      break
    case 'have':
    case 'offer':
      learn(schedule, event, now)
      break
    case 'want':
      wanted(schedule, event, effects)
      break
    case 'cancel':
      cancelUpload(schedule.uploads, event, effects)
      break
    case 'busy':
    case 'failed':
      refused(schedule, event, now)
      break
    case 'peer-up':
      meet(schedule, event.peer, effects)
      break
    case 'peer-down':
      lose(schedule, event.peer, effects)
      break
    case 'fetch':
      begin(schedule, fetchSwarm(event, event.urgency, event.order), effects)
      break
    case 'ingest':
      begin(schedule, ingestSwarm(event), effects)
      break
    case 'local':
      takeLocal(schedule, event.blob, event.piece)
      break
    case 'sized':
      size(schedule, event, effects)
      break
    case 'lost':
      forget(schedule, event.blob, event.pieces, effects)
      break
    case 'lied':
      lied(schedule, event.peer, now, effects)
      break
    case 'leave':
      leave(schedule, event.peer, event.blob, effects)
      break
    case 'await':
      hurry(schedule, event.blob, event.cursor)
      break
    case 'urge':
      urge(schedule, event.blob, event.urgency)
      break
    case 'drop':
      drop(schedule, event.blob, effects)
      break
    case 'started':
      started(schedule, event, now, effects)
      break
    case 'arrived':
      arrived(schedule, event, now, effects)
      break
    case 'wrong':
      wrong(schedule, event, now, effects)
      break
    case 'sent':
      sent(schedule, event, now)
      break
    case 'tick':
      tick(schedule, now, effects)
      break
    default:
      event satisfies never
  }
}

function wanted(
  schedule: Schedule,
  event: Extract<Event, { kind: 'want' }>,
  effects: Effect[]
): void {
  const { swarm, peer } = find(schedule, event)
  if (peer === undefined) return
  if (Number.isInteger(event.piece) && swarm?.held.has(event.piece)) {
    enqueue(schedule.uploads, event, peer, schedule.limits, effects)
    return
  }
  const { blob, piece } = event
  effects.push({ kind: 'busy', peer: peer.id, blob, piece, retryMs: NOT_HERE_RETRY_MS })
}

/** A request was turned down, or broke off: not a sign of wrong bytes, so only of less to ask. */
function refused(
  schedule: Schedule,
  event: Extract<Event, { kind: 'busy' | 'failed' }>,
  now: number
): void {
  const { swarm, peer } = find(schedule, event)
  if (swarm === undefined || peer === undefined) return
  if (endRequest(swarm, event.piece, peer) === undefined) return
  if (event.kind === 'busy') peer.busyUntilMs = now + event.retryMs
  else miss(peer, now)
}

function started(schedule: Schedule, of: PieceOf, now: number, effects: Effect[]): void {
  const { swarm, peer } = find(schedule, of)
  if (swarm && peer) noteStarted(swarm, of.piece, peer, now, effects)
}

function arrived(schedule: Schedule, of: PieceOf, now: number, effects: Effect[]): void {
  const { swarm, peer } = find(schedule, of)
  if (swarm === undefined || of.piece < 0 || of.piece >= swarm.held.length) return
  const request = peer && endRequest(swarm, of.piece, peer)
  if (peer && request) praise(peer, now - request.askedMs, now, schedule.limits)
  for (const other of [...(swarm.requests.get(of.piece) ?? [])]) {
    giveUp(swarm, of.piece, other.peer, effects)
  }
  if (!swarm.held.add(of.piece)) return
  announce(swarm, of.piece, schedule.limits, now)
  if (!swarm.held.isFull) return
  sort(schedule)
  effects.push({ kind: 'complete', blob: swarm.blob })
}

function sent(schedule: Schedule, of: PieceOf, now: number): void {
  endUpload(schedule.uploads, of, now)
  const { swarm, peer } = find(schedule, of)
  if (swarm && peer) noteOfferSent(swarm, of.piece, peer)
}

function wrong(schedule: Schedule, of: PieceOf, now: number, effects: Effect[]): void {
  const { swarm, peer } = find(schedule, of)
  if (swarm === undefined || peer === undefined) return
  if (endRequest(swarm, of.piece, peer) === undefined) return
  const asideMs = strike(peer, now)
  effects.push({ kind: 'complain', peer: peer.id, blob: of.blob, piece: of.piece, asideMs })
  abandon(schedule, peer, effects)
}

function lied(schedule: Schedule, id: string, now: number, effects: Effect[]): void {
  const peer = schedule.peers.get(id)
  if (peer === undefined) return
  strike(peer, now)
  abandon(schedule, peer, effects)
}

function abandon(schedule: Schedule, peer: Peer, effects: Effect[]): void {
  for (const each of schedule.swarms.values()) {
    for (const piece of [...each.requests.keys()]) giveUp(each, piece, peer, effects)
  }
}

function tick(schedule: Schedule, now: number, effects: Effect[]): void {
  if (schedule.wakeMs !== undefined && schedule.wakeMs <= now) schedule.wakeMs = undefined
  if (now < schedule.checkMs) return
  schedule.checkMs = now + schedule.limits.tickMs
  for (const swarm of schedule.swarms.values()) {
    expireRequests(swarm, now, effects)
    expireOffers(swarm, now)
  }
  easeStuck(schedule.uploads, now)
}

/** Asks for pieces, of as many blobs at once as may be active. */
function request(schedule: Schedule, now: number, random: Random, effects: Effect[]): void {
  const { unfinished, limits } = schedule
  const active =
    unfinished.length > limits.activeBlobs ? unfinished.slice(0, limits.activeBlobs) : unfinished
  let bytes = limits.nodeBytes
  for (const { asked, pieceBytes } of active) bytes -= asked.count * pieceBytes
  const budget = { bytes }
  for (const swarm of active) requestPieces(swarm, budget, limits, now, random, effects)
}

/** Lets neighbours know, now or at a moment that the caller is asked to keep. */
function spread(
  schedule: Schedule,
  swarm: Swarm | undefined,
  now: number,
  effects: Effect[]
): void {
  if (swarm === undefined) return
  const { limits } = schedule
  offerPieces(swarm, schedule.peers.size, limits, now, effects)
  flushNews(swarm, limits, now, effects)
  if (swarm.newsDueMs !== undefined) wake(schedule, swarm.newsDueMs, effects)
  if (swarm.requests.size > 0 || swarm.offered.size > 0 || !swarm.held.isFull) {
    wake(schedule, Math.max(now, schedule.checkMs), effects)
  }
}

function wake(schedule: Schedule, atMs: number, effects: Effect[]): void {
  if (schedule.wakeMs !== undefined && schedule.wakeMs <= atMs) return
  schedule.wakeMs = atMs
  effects.push({ kind: 'wake', atMs })
}

function find(
  { swarms, peers }: Schedule,
  { blob, peer }: PieceOf
): { swarm: Swarm | undefined; peer: Peer | undefined } {
  return { swarm: swarms.get(blob), peer: peers.get(peer) }
}
