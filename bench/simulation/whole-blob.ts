import type { Random } from '../../src/clock.ts'
import type { Effect } from '../../src/swarm/schedule/messages.ts'
import type { Decider, Policy } from './policy.ts'

/** So many at once from one holder; the others are sent away, as a bounded server does. */
const MAX_SENDING = 4
const RETRY_MS = 250

/** A holder that has sent nothing whole after so many times what the quickest took is given up. */
const STALL_MS = 120_000

/**
 * No pieces: each node fetches the whole blob from one node that has all of it, chosen by chance
 * among those it has heard of, at first the only one. This is how pull-through mirrors share.
 */
export const wholeBlob: Policy = {
  name: 'whole-blob',
  pieceBytes: sizeBytes => sizeBytes,
  neighbours: ids => new Map(ids.map(id => [id, ids.filter(other => other !== id)])),
  decider: () => newDecider()
}

type State =
  | { readonly kind: 'unaware' }
  | { readonly kind: 'looking'; readonly blob: string; readonly untilMs: number }
  | { readonly kind: 'fetching'; readonly blob: string; readonly from: string; sinceMs: number }
  | { readonly kind: 'holding'; readonly blob: string }

function newDecider(): Decider {
  const peers = new Set<string>()
  const holders = new Set<string>()
  const liars = new Set<string>()
  const sending = new Set<string>()
  let state: State = { kind: 'unaware' }

  function tellAll(blob: string): Effect[] {
    return [...peers].map((peer): Effect => ({ kind: 'have', peer, blob, pieces: [0] }))
  }

  function look(now: number, random: Random): Effect[] {
    if (state.kind !== 'looking' || state.untilMs > now) return []
    const { blob } = state
    const known = [...holders].filter(each => !liars.has(each))
    const from = known[Math.floor(random() * known.length)]
    if (from === undefined) return []
    state = { kind: 'fetching', blob, from, sinceMs: now }
    return [
      { kind: 'want', peer: from, blob, piece: 0, urgency: 'background' },
      { kind: 'wake', atMs: now + STALL_MS }
    ]
  }

  function retry(now: number, waitMs: number): Effect[] {
    if (state.kind !== 'fetching') return []
    state = { kind: 'looking', blob: state.blob, untilMs: now + waitMs }
    return [{ kind: 'wake', atMs: now + waitMs }]
  }

  return (event, now, random) => {
    switch (event.kind) {
      case 'peer-up':
        peers.add(event.peer)
        if (state.kind !== 'holding') return []
        return [{ kind: 'have', peer: event.peer, blob: state.blob, pieces: [0] }]
      case 'peer-down':
        peers.delete(event.peer)
        holders.delete(event.peer)
        sending.delete(event.peer)
        if (state.kind === 'fetching' && state.from === event.peer) retry(now, 0)
        return look(now, random)
      case 'ingest':
        state = { kind: 'holding', blob: event.blob }
        return tellAll(event.blob)
      case 'fetch':
        state = { kind: 'looking', blob: event.blob, untilMs: now }
        return look(now, random)
      case 'have':
        holders.add(event.peer)
        return look(now, random)
      case 'want': {
        const { peer, blob, piece } = event
        if (sending.size >= MAX_SENDING) {
          return [{ kind: 'busy', peer, blob, piece, retryMs: RETRY_MS }]
        }
        sending.add(peer)
        return [{ kind: 'serve', peer, blob, piece }]
      }
      case 'sent':
        sending.delete(event.peer)
        return []
      case 'busy':
        return retry(now, event.retryMs * (1 + random()))
      case 'wrong':
        liars.add(event.peer)
        retry(now, 0)
        return look(now, random)
      case 'arrived':
        state = { kind: 'holding', blob: event.blob }
        return tellAll(event.blob)
      case 'tick':
        if (state.kind === 'fetching' && now - state.sinceMs >= STALL_MS) retry(now, 0)
        return look(now, random)
      default:
        return []
    }
  }
}
