import type { Random } from '../../src/clock.ts'
import type { Bits } from '../../src/swarm/schedule/bits.ts'
import type { Effect, Event, PieceOf } from '../../src/swarm/schedule/messages.ts'
import { type Decider, neighboursOnRings, type Policy } from './policy.ts'

/** The defaults in Kraken's sources: config/origin/base.yaml, connstate, dispatch. */
const PIECE_BYTES = 4 * 1024 * 1024
const RINGS = 5
const AGENT_PIPELINE = 3
const ORIGIN_PIPELINE = 5
const TIMEOUT_MS = 16_000
const CHECK_MS = TIMEOUT_MS / 2
const ENDGAME_PIECES = 3
const BLACKLIST_MS = 30_000

/**
 * Kraken's constants and rules: 4 MB pieces, ten connections, three pieces in flight to an agent
 * and five to an origin, rarest first, every piece announced at once, requests that time out after
 * 16 s and are looked at every 8 s, duplicates to everyone for the last three pieces, no cancels.
 * Kinder than the real one: its graph is regular and repaired at once, with no tracker to poll.
 */
export const kraken: Policy = {
  name: 'kraken',
  pieceBytes: () => PIECE_BYTES,
  neighbours: ids => neighboursOnRings(ids, RINGS),
  decider: () => newDecider()
}

interface Connection {
  readonly have: Bits
  readonly isOrigin: boolean
  readonly askedMs: Map<number, number>
  /** Pieces to send to it, one after the other: the first is leaving. */
  readonly sending: number[]
}

interface Torrent {
  readonly blob: string
  readonly held: Bits
  readonly copies: Uint8Array
  readonly connections: Map<string, Connection>
  readonly blacklistedMs: Map<string, number>
  /** How many were asked for each piece. */
  readonly asked: Uint8Array
}

function newDecider(): Decider {
  const peers = new Set<string>()
  let torrent: Torrent | undefined
  return (event, now, random) => {
    const effects: Effect[] = []
    if (event.kind === 'peer-up') peers.add(event.peer)
    if (event.kind === 'peer-down') peers.delete(event.peer)
    if (event.kind === 'fetch' || event.kind === 'ingest') {
      torrent = newTorrent(event.blob, event.held)
      for (const peer of peers) effects.push(greeting(torrent, peer, true))
      effects.push({ kind: 'wake', atMs: now + CHECK_MS })
    } else if (torrent !== undefined) {
      handle(torrent, event, now, effects)
      request(torrent, now, random, effects)
    }
    return effects
  }
}

function newTorrent(blob: string, held: Bits): Torrent {
  return {
    blob,
    held: held.copy(),
    copies: new Uint8Array(held.length),
    connections: new Map(),
    blacklistedMs: new Map(),
    asked: new Uint8Array(held.length)
  }
}

function handle(torrent: Torrent, event: Event, now: number, effects: Effect[]): void {
  switch (event.kind) {
    case 'peer-up':
      effects.push(greeting(torrent, event.peer, true))
      break
    case 'peer-down':
      disconnect(torrent, event.peer)
      break
    case 'hello':
      connect(torrent, event.peer, event.held)
      if (event.reply) effects.push(greeting(torrent, event.peer, false))
      break
    case 'have': {
      const connection = torrent.connections.get(event.peer)
      for (const piece of event.pieces) {
        if (connection?.have.add(piece)) torrent.copies[piece] = (torrent.copies[piece] ?? 0) + 1
      }
      break
    }
    case 'want': {
      const { peer, blob, piece } = event
      const sending = torrent.connections.get(peer)?.sending
      if (sending?.push(piece) === 1) effects.push({ kind: 'serve', peer, blob, piece })
      break
    }
    case 'sent': {
      const { peer, blob } = event
      const sending = torrent.connections.get(peer)?.sending
      sending?.shift()
      const next = sending?.[0]
      if (next !== undefined) effects.push({ kind: 'serve', peer, blob, piece: next })
      break
    }
    case 'arrived':
      answered(torrent, event)
      if (!torrent.held.add(event.piece)) break
      for (const peer of torrent.connections.keys()) {
        effects.push({ kind: 'have', peer, blob: event.blob, pieces: [event.piece] })
      }
      break
    case 'wrong':
      disconnect(torrent, event.peer)
      torrent.blacklistedMs.set(event.peer, now + BLACKLIST_MS)
      break
    case 'tick':
      check(torrent, now, effects)
      break
    default:
  }
}

function connect(torrent: Torrent, peer: string, have: Bits): void {
  disconnect(torrent, peer)
  torrent.connections.set(peer, {
    have: have.copy(),
    isOrigin: have.isFull,
    askedMs: new Map(),
    sending: []
  })
  for (const piece of have) torrent.copies[piece] = (torrent.copies[piece] ?? 0) + 1
}

function disconnect(torrent: Torrent, peer: string): void {
  const connection = torrent.connections.get(peer)
  if (connection === undefined) return
  for (const piece of [...connection.askedMs.keys()]) {
    answered(torrent, { peer, blob: torrent.blob, piece })
  }
  for (const piece of connection.have) torrent.copies[piece] = (torrent.copies[piece] ?? 1) - 1
  torrent.connections.delete(peer)
}

function answered({ connections, asked }: Torrent, { peer, piece }: PieceOf): void {
  if (connections.get(peer)?.askedMs.delete(piece)) asked[piece] = (asked[piece] ?? 1) - 1
}

function check(torrent: Torrent, now: number, effects: Effect[]): void {
  for (const [peer, { askedMs }] of torrent.connections) {
    for (const [piece, sinceMs] of [...askedMs]) {
      if (now - sinceMs >= TIMEOUT_MS) answered(torrent, { peer, blob: torrent.blob, piece })
    }
  }
  if (!torrent.held.isFull) effects.push({ kind: 'wake', atMs: now + CHECK_MS })
}

function request(torrent: Torrent, now: number, random: Random, effects: Effect[]): void {
  const { held, connections, blob, asked, blacklistedMs } = torrent
  if (held.isFull) return
  const isEndgame = held.length - held.count <= ENDGAME_PIECES
  for (const [peer, { have, isOrigin, askedMs }] of connections) {
    if ((blacklistedMs.get(peer) ?? 0) > now) continue
    while (askedMs.size < (isOrigin ? ORIGIN_PIPELINE : AGENT_PIPELINE)) {
      const piece = rarest(torrent, have, askedMs, isEndgame, random)
      if (piece === undefined) break
      askedMs.set(piece, now)
      asked[piece] = (asked[piece] ?? 0) + 1
      effects.push({ kind: 'want', peer, blob, piece, urgency: 'background' })
    }
  }
}

function rarest(
  { held, copies, asked }: Torrent,
  have: Bits,
  askedMs: ReadonlyMap<number, number>,
  isEndgame: boolean,
  random: Random
): number | undefined {
  let found: number | undefined
  let fewest = 256
  const start = Math.floor(random() * held.length)
  for (let step = 0; step < held.length; step++) {
    const piece = (start + step) % held.length
    const count = copies[piece] ?? 0
    if (count >= fewest || !have.has(piece) || held.has(piece) || askedMs.has(piece)) continue
    if (!isEndgame && (asked[piece] ?? 0) > 0) continue
    found = piece
    fewest = count
  }
  return found
}

function greeting({ blob, held }: Torrent, peer: string, reply: boolean): Effect {
  return { kind: 'hello', peer, blob, held: held.copy(), reply }
}
