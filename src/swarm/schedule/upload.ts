import type { Limits } from './limits.ts'
import { type Effect, type PieceOf, URGENCIES, type Urgency } from './messages.ts'
import { noteSent, type Peer, runningMean } from './peer.ts'
import type { Swarm } from './swarm.ts'

/** A piece that few have is worth more than its urgency: passing it on is what makes the swarm grow. */
const FRESH_COPIES = 1

/** Of so many turns one goes to what is least urgent, so that it never stands still. */
const FLOOR_TURNS = 10

/** A neighbour that takes a piece slowly leaves room for others; but it takes some. */
const MIN_WEIGHT = 1 / 8

/** A neighbour is slow that takes more than this many times the usual time. */
const SLOW_TIMES = 2

/** Sending is stuck when it takes so many times as long as usual, and this long at least. */
const STUCK_TIMES = 4
const MIN_STUCK_MS = 100

/** How long a neighbour that found the queue full waits, when nothing was ever sent. */
const DEFAULT_RETRY_MS = 100

interface Upload extends PieceOf {
  readonly urgency: Urgency
  readonly asker: Peer
}

interface Sending extends Upload {
  readonly sinceMs: number
  weight: number
}

/** The requests of neighbours: those being answered, and those that wait for a turn. */
export interface Uploads {
  readonly queue: Upload[]
  readonly sending: Sending[]
  weight: number
  turns: number
  /** Mean time that a piece takes to leave, in milliseconds. */
  sendMs: number | undefined
}

export function newUploads(): Uploads {
  return { queue: [], sending: [], weight: 0, turns: 0, sendMs: undefined }
}

/** Queues a request, or tells the neighbour to come back when the queue is full. */
export function enqueue(
  uploads: Uploads,
  request: PieceOf & { readonly urgency: Urgency },
  asker: Peer,
  limits: Limits,
  effects: Effect[]
): void {
  const { peer, blob, piece, urgency } = request
  if (find(uploads.queue, request) >= 0 || find(uploads.sending, request) >= 0) return
  if (uploads.queue.length >= limits.uploadQueue) {
    const retryMs = asker.sendMs ?? DEFAULT_RETRY_MS
    effects.push({ kind: 'busy', peer, blob, piece, retryMs })
    return
  }
  uploads.queue.push({ peer, blob, piece, urgency, asker })
}

/**
 * Starts sending as long as there is room. Few at once, since a piece that is sent alone can be
 * passed on sooner than two that share the link; more when they go to slow neighbours.
 */
export function serveNext(
  uploads: Uploads,
  swarms: ReadonlyMap<string, Swarm>,
  limits: Limits,
  now: number,
  effects: Effect[]
): void {
  const { queue, sending } = uploads
  while (
    queue.length > 0 &&
    uploads.weight < limits.uploadWeight &&
    sending.length < limits.uploadStreams
  ) {
    uploads.turns++
    const upload = takeBest(uploads, swarms)
    if (upload === undefined) return
    const { peer, blob, piece, asker } = upload
    const weight = weightOf(uploads, asker)
    uploads.weight += weight
    asker.sending++
    sending.push({ ...upload, sinceMs: now, weight })
    effects.push({ kind: 'serve', peer, blob, piece })
  }
}

/** A piece has left. */
export function endUpload(uploads: Uploads, of: PieceOf, now: number): void {
  const ended = take(uploads.sending, of)
  if (ended === undefined) return
  const tookMs = now - ended.sinceMs
  noteSent(ended.asker, tookMs)
  uploads.sendMs = runningMean(uploads.sendMs, tookMs)
  release(uploads, ended)
}

/** What takes far longer than usual, since the neighbour is slow or dead, makes room for others. */
export function easeStuck(uploads: Uploads, now: number): void {
  for (const each of uploads.sending) {
    const usualMs = uploads.sendMs ?? MIN_STUCK_MS
    if (now - each.sinceMs < Math.max(MIN_STUCK_MS, STUCK_TIMES * usualMs)) continue
    uploads.weight -= each.weight - MIN_WEIGHT
    each.weight = MIN_WEIGHT
    noteSent(each.asker, now - each.sinceMs)
  }
}

/** A neighbour does not want a piece any more. */
export function cancelUpload(uploads: Uploads, of: PieceOf, effects: Effect[]): void {
  if (take(uploads.queue, of) !== undefined) return
  const stopped = take(uploads.sending, of)
  if (stopped === undefined) return
  release(uploads, stopped)
  const { peer, blob, piece } = of
  effects.push({ kind: 'stop', peer, blob, piece })
}

/** Forgets the requests of a neighbour that is gone, or for a blob that is. */
export function dropUploads(
  uploads: Uploads,
  matches: (upload: PieceOf) => boolean,
  effects: Effect[]
): void {
  for (const upload of [...uploads.queue, ...uploads.sending]) {
    if (matches(upload)) cancelUpload(uploads, upload, effects)
  }
}

/** How much of the link a neighbour takes up: one that takes pieces slowly takes up less. */
function weightOf(uploads: Uploads, { sendMs }: Peer): number {
  if (sendMs === undefined || uploads.sendMs === undefined) return 1
  return Math.max(MIN_WEIGHT, Math.min(1, (SLOW_TIMES * uploads.sendMs) / sendMs))
}

/** The most urgent first, then whoever is being sent the least, then the oldest. */
function takeBest(uploads: Uploads, swarms: ReadonlyMap<string, Swarm>): Upload | undefined {
  const { queue } = uploads
  const floor = uploads.turns % FLOOR_TURNS === 0
  let best = -1
  let bestScore = Number.POSITIVE_INFINITY
  for (const [at, upload] of queue.entries()) {
    const score = scoreOf(upload, swarms.get(upload.blob), floor)
    if (score < bestScore) {
      best = at
      bestScore = score
    }
  }
  return best < 0 ? undefined : queue.splice(best, 1)[0]
}

function scoreOf(
  { urgency, piece, asker }: Upload,
  swarm: Swarm | undefined,
  floor: boolean
): number {
  const isFresh = urgency === 'background' && (swarm?.copies[piece] ?? 0) <= FRESH_COPIES
  const rank = 2 * URGENCIES.indexOf(urgency) + (isFresh ? 0 : 1)
  return (floor ? -rank : rank) * 1_000 + asker.sending
}

function release(uploads: Uploads, { asker, weight }: Sending): void {
  asker.sending--
  uploads.weight = uploads.sending.length === 0 ? 0 : uploads.weight - weight
}

function take<T extends PieceOf>(list: T[], of: PieceOf): T | undefined {
  const at = find(list, of)
  return at < 0 ? undefined : list.splice(at, 1)[0]
}

function find(list: readonly PieceOf[], { peer, blob, piece }: PieceOf): number {
  return list.findIndex(each => each.piece === piece && each.peer === peer && each.blob === blob)
}
