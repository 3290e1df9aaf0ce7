import type { Limits } from './limits.ts'
import type { Effect } from './messages.ts'
import type { Link, Swarm } from './swarm.ts'

/** Queues the news of a held piece for every neighbour that lacks it. */
export function announce(swarm: Swarm, piece: number, now: number): void {
  for (const link of swarm.links.values()) {
    if (link.have.has(piece)) continue
    link.news.push(piece)
    swarm.newsSinceMs ??= now
  }
}

/**
 * Queues all that may be known for one neighbour: it answered our greeting, and until then news
 * since the greeting did not reach it.
 */
export function announceAll(swarm: Swarm, { have, news }: Link, now: number): void {
  for (const piece of swarm.held) {
    if (swarm.hidden.has(piece) || have.has(piece)) continue
    news.push(piece)
    swarm.newsSinceMs ??= now
  }
}

/** When the queued news must leave; undefined when there is none. */
export function newsDueMs(swarm: Swarm, limits: Limits): number | undefined {
  return swarm.newsSinceMs === undefined ? undefined : swarm.newsSinceMs + limits.announceMs
}

/**
 * Sends the queued news in batches, all of it when it is old enough, else where a batch is full.
 * A neighbour that got a piece meanwhile does not hear of it: it would learn nothing.
 */
export function flushNews(swarm: Swarm, limits: Limits, now: number, effects: Effect[]): void {
  const due = newsDueMs(swarm, limits)
  if (due === undefined) return
  const all = due <= now
  for (const { peer, have, news } of swarm.links.values()) {
    if (news.length === 0 || (!all && news.length < limits.announcePieces)) continue
    const pieces = news.filter(piece => !have.has(piece))
    news.length = 0
    if (pieces.length > 0) effects.push({ kind: 'have', peer: peer.id, blob: swarm.blob, pieces })
  }
  if (all) swarm.newsSinceMs = undefined
}
