import type { Limits } from './limits.ts'

/** Weight of the newest measurement in a running mean: about the last eight pieces count. */
const NEWEST = 0.25

/** See {@link costOf}. */
const HALF_LIFE_TIMES = 4

/** A deadline is this many usual times, within these bounds: lower is noise, higher is asleep. */
const DEADLINE_TIMES = 4
const MIN_DEADLINE_MS = 500
const MAX_DEADLINE_MS = 60_000

/** Before anything was measured: longer than it takes to notice that a neighbour is dead. */
const FIRST_DEADLINE_MS = 10_000

/** Misses in a row after which a neighbour is left alone, for a time that doubles. */
const SNUB_MISSES = 2
const FIRST_SNUB_MS = 2_000
const MAX_SNUB_MS = 300_000

/** A first wrong piece may be one bad sector; a second one within the hour is a habit. */
const WRONG_ASIDE_MS = [300_000, 3_600_000] as const

/** What is held against a neighbour. */
export type Standing =
  | { readonly kind: 'good' }
  | { readonly kind: 'slow'; readonly untilMs: number }
  | { readonly kind: 'wrong'; readonly untilMs: number }

/** A neighbour, over all blobs: what it was asked for and how it behaved. */
export interface Peer {
  readonly id: string
  standing: Standing
  /** Pieces it may be asked for at once; grows by parts of a piece. */
  window: number
  asked: number
  /** Mean time from asking to the last byte, in milliseconds; undefined before the first piece. */
  pieceMs: number | undefined
  /** When that was last measured. */
  answeredMs: number
  missesInARow: number
  snubs: number
  strikes: number
  /** It said that it is busy. */
  busyUntilMs: number
  /** Mean time to send it a piece, in milliseconds, and how many are on their way. */
  sendMs: number | undefined
  sending: number
}

export function newPeer(id: string, limits: Limits): Peer {
  return {
    id,
    standing: { kind: 'good' },
    window: limits.startWindow,
    asked: 0,
    pieceMs: undefined,
    answeredMs: 0,
    missesInARow: 0,
    snubs: 0,
    strikes: 0,
    busyUntilMs: 0,
    sendMs: undefined,
    sending: 0
  }
}

/** Whether another piece may be asked of it now. */
export function hasRoom(peer: Peer, now: number): boolean {
  if (peer.asked >= Math.floor(peer.window) || peer.busyUntilMs > now) return false
  return peer.standing.kind === 'good' || peer.standing.untilMs <= now
}

/**
 * What asking it costs: how long it will take, as far as is known. What is known of one that is
 * asked for nothing grows old: by half in so many piece times, so that it is tried again.
 */
export function costOf(peer: Peer, now: number): number {
  const { asked, pieceMs, answeredMs } = peer
  if (pieceMs === undefined) return 0
  if (asked > 0) return (asked + 1) * pieceMs
  return pieceMs * 2 ** ((answeredMs - now) / (HALF_LIFE_TIMES * pieceMs))
}

/** How long a piece may take before it is asked of someone else as well. */
export function deadlineMs(peer: Peer): number {
  if (peer.pieceMs === undefined) return FIRST_DEADLINE_MS
  return Math.min(MAX_DEADLINE_MS, Math.max(MIN_DEADLINE_MS, DEADLINE_TIMES * peer.pieceMs))
}

/** A good piece came: what was held against it as slow is forgiven. */
export function praise(peer: Peer, tookMs: number, now: number, limits: Limits): void {
  peer.pieceMs = runningMean(peer.pieceMs, tookMs)
  peer.answeredMs = now
  peer.missesInARow = 0
  peer.snubs = 0
  if (peer.standing.kind === 'slow') peer.standing = { kind: 'good' }
  peer.window = Math.min(limits.maxWindow, peer.window + 1 / peer.window)
}

/** A piece is not here after so long: on a slow network that is how long pieces take. */
export function noteLate(peer: Peer, waitedMs: number): void {
  peer.pieceMs = Math.max(peer.pieceMs ?? 0, waitedMs)
}

/** A piece did not come in time, or broke off: less is asked of it, and for a while nothing. */
export function miss(peer: Peer, now: number): void {
  peer.window = Math.max(1, peer.window / 2)
  peer.missesInARow++
  if (peer.missesInARow < SNUB_MISSES || peer.standing.kind === 'wrong') return
  peer.standing = {
    kind: 'slow',
    untilMs: now + Math.min(MAX_SNUB_MS, FIRST_SNUB_MS * 2 ** peer.snubs)
  }
  peer.missesInARow = 0
  peer.snubs++
}

/** A piece was wrong: it is asked for nothing during the time given back, in milliseconds. */
export function strike(peer: Peer, now: number): number {
  const asideMs = WRONG_ASIDE_MS[Math.min(peer.strikes, WRONG_ASIDE_MS.length - 1)] ?? 0
  peer.strikes++
  peer.standing = { kind: 'wrong', untilMs: now + asideMs }
  return asideMs
}

/** A piece reached it: remembers how long sending takes. */
export function noteSent(peer: Peer, tookMs: number): void {
  peer.sendMs = runningMean(peer.sendMs, tookMs)
}

/** A running mean: the newest of many counts for {@link NEWEST}. */
export function runningMean(old: number | undefined, newest: number): number {
  return old === undefined ? newest : old + NEWEST * (newest - old)
}
