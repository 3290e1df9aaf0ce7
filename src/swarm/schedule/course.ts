import { type Effect, type Event, URGENCIES, type Urgency } from './messages.ts'
import { greeting } from './neighbours.ts'
import { giveUp } from './request.ts'
import type { Schedule } from './schedule.ts'
import { type Swarm, truncate } from './swarm.ts'
import { dropUploads } from './upload.ts'

/** This node takes part in a blob from now on, and every neighbour hears of it. */
export function begin(schedule: Schedule, swarm: Swarm, effects: Effect[]): void {
  if (schedule.swarms.has(swarm.blob)) return
  schedule.swarms.set(swarm.blob, swarm)
  sort(schedule)
  for (const { id } of schedule.peers.values()) effects.push(greeting(swarm, id, true))
}

/** A piece of a push is on disk. */
export function takeLocal({ swarms }: Schedule, blob: string, piece: number): void {
  const swarm = swarms.get(blob)
  if (swarm?.held.add(piece)) swarm.hidden.add(piece)
}

/** A blob that was begun with more pieces than it has is cut. */
export function size(
  schedule: Schedule,
  { blob, sizeBytes, pieceCount }: Extract<Event, { kind: 'sized' }>,
  effects: Effect[]
): void {
  const swarm = schedule.swarms.get(blob)
  if (swarm === undefined || pieceCount > swarm.held.length) return
  for (const [piece, requests] of [...swarm.requests]) {
    if (piece < pieceCount) continue
    for (const { peer } of [...requests]) giveUp(swarm, piece, peer, effects)
  }
  const wasFull = swarm.held.isFull
  truncate(swarm, sizeBytes, pieceCount)
  sort(schedule)
  if (swarm.role === 'fetch' && swarm.held.isFull && !wasFull) {
    effects.push({ kind: 'complete', blob })
  }
}

/** Neighbours that were told of these pieces hear anew what is here. */
export function forget(
  schedule: Schedule,
  blob: string,
  pieces: readonly number[],
  effects: Effect[]
): void {
  const swarm = schedule.swarms.get(blob)
  if (swarm === undefined) return
  for (const piece of pieces) {
    swarm.held.delete(piece)
    swarm.hidden.delete(piece)
  }
  sort(schedule)
  for (const peer of swarm.links.keys()) effects.push(greeting(swarm, peer, false))
}

/** A client waits for a blob, from this piece on. */
export function hurry(schedule: Schedule, blob: string, cursor: number): void {
  const swarm = schedule.swarms.get(blob)
  if (swarm === undefined) return
  swarm.cursor = cursor
  urge(schedule, blob, 'awaited')
}

/** A blob is at least so urgent from now on. */
export function urge(schedule: Schedule, blob: string, urgency: Urgency): void {
  const swarm = schedule.swarms.get(blob)
  if (swarm === undefined || rankOf(swarm.urgency) <= rankOf(urgency)) return
  swarm.urgency = urgency
  sort(schedule)
}

/** This node takes no part in a blob any more. */
export function drop(schedule: Schedule, blob: string, effects: Effect[]): void {
  const swarm = schedule.swarms.get(blob)
  if (swarm === undefined) return
  for (const [piece, requests] of [...swarm.requests]) {
    for (const { peer } of [...requests]) giveUp(swarm, piece, peer, effects)
  }
  dropUploads(schedule.uploads, upload => upload.blob === blob, effects)
  schedule.swarms.delete(blob)
  sort(schedule)
}

/** The most urgent first, and among equals the oldest, so that images become whole one by one. */
export function sort(schedule: Schedule): void {
  schedule.unfinished = [...schedule.swarms.values()]
    .filter(({ role, held }) => role === 'fetch' && !held.isFull)
    .sort((a, b) => rankOf(a.urgency) - rankOf(b.urgency) || a.order - b.order)
}

function rankOf(urgency: Urgency): number {
  return URGENCIES.indexOf(urgency)
}
