import type { Limits } from './limits.ts'
import type { Effect } from './messages.ts'
import type { Link, Swarm } from './swarm.ts'

/**
 * Queues the news of a held piece for every neighbour that lacks it. One that no neighbour has
 * spreads through us: its news leaves soon. Any other can be got elsewhere, and its news waits for
 * company, since it is messages that cost, not what is in them.
 */
export function announce(swarm: Swarm, piece: number, limits: Limits, now: number): void {
  const dueMs = now + (swarm.copies[piece] === 0 ? limits.announceMs : limits.announceLateMs)
  for (const link of swarm.links.values()) {
    if (link.have.has(piece)) continue
    link.news.push(piece)
    swarm.newsDueMs = Math.min(swarm.newsDueMs ?? dueMs, dueMs)
  }
}

/**
 * Queues all that may be known for one neighbour: it answered our greeting, and until then news
 * since the greeting did not reach it.
 */
export function announceAll(
  swarm: Swarm,
  { have, news }: Link,
  { announceMs }: Limits,
  now: number
): void {
  for (const piece of swarm.held) {
    if (swarm.hidden.has(piece) || have.has(piece)) continue
    news.push(piece)
    swarm.newsDueMs = Math.min(swarm.newsDueMs ?? Number.POSITIVE_INFINITY, now + announceMs)
  }
}

/**
 * Sends the queued news in batches, all of it when it is due, else where a batch is full.
 * A neighbour that got a piece meanwhile does not hear of it: it would learn nothing.
 */
export function flushNews(swarm: Swarm, limits: Limits, now: number, effects: Effect[]): void {
  if (swarm.newsDueMs === undefined) return
  const all = swarm.newsDueMs <= now
  for (const { peer, have, news } of swarm.links.values()) {
    if (news.length === 0 || (!all && news.length < limits.announcePieces)) continue
    const pieces = news.filter(piece => !have.has(piece))
    news.length = 0
    if (pieces.length > 0) effects.push({ kind: 'have', peer: peer.id, blob: swarm.blob, pieces })
  }
  if (all) swarm.newsDueMs = undefined
}
