import { StarlingError } from '../errors.ts'
import type { ReconcileStore } from './answer.ts'
import { type Exchange, GET_IDS, Inbox, Outbox, unexpected } from './boxes.ts'
import { FANOUT, MAX_DEPTH, type Prefix, type Summary } from './fingerprint.ts'
import type { Terms } from './horizon.ts'
import { MAX_PREFIXES } from './wire.ts'
import { type Answer, decodeAnswer } from './wire-answer.ts'
import { encodeRequest, type Position, type Request } from './wire-request.ts'

/** Sends a request to one peer and gives its answer; both stay within `MAX_FRAME_BYTES`. */
export type Ask = (request: Uint8Array) => Promise<Uint8Array>

export interface Reconciled {
  /** Records of the peer that were new here. */
  readonly received: number
  /** Records of ours that were new to the peer. */
  readonly sent: number
  /**
   * How it ended: both had the same records; or each had what the other had at first, but more
   * keeps coming; or all that the peer has is here, but it did not take ours; or nothing moved.
   */
  readonly end: 'equal' | 'busy' | 'refused' | 'stuck'
  /** Why the peer did not take ours, if so. */
  readonly refused?: unknown
  /** What the peer told of its memory when both were equal. */
  readonly terms?: Terms
}

/** Where both sides stood when they last were equal, so that what came since is known at once. */
export interface LastEqual {
  readonly theirs: Position
  readonly mine: Position
}

/** Each round settles all it saw; more than one is for what changed meanwhile. */
const MAX_ROUNDS = 5
/** Pages of ids that a peer may list for one set of ranges: 16 million records. */
const MAX_PAGES = 1_024
/** Ids of a range that are listed rather than divided: dividing costs 320 bytes. */
const LIST_AT_MOST = 12
/** A range that one side has nothing of is not divided to find differences, but to bound memory. */
const LIST_WHOLE_AT_MOST = 4_096
/** Ranges listed in one request, so that what both sides read for it stays small. */
const LIST_PREFIXES = 256
/** Frames of news taken from a peer's log: beyond, most of the log was sent in vain. */
const MAX_NEWS = 128

/**
 * Makes this set and a peer's equal: range-based set reconciliation over the prefix tree of
 * `Fingerprint`. Roots are compared, then ever smaller ranges where they differ, then the ids of
 * those that are small; then either side gets the records that it lacks.
 *
 * Equal sets cost one exchange of less than 100 bytes; one difference in a million records costs
 * four more and 2 KB; the cost grows with the differences, not with the sets. Nothing is kept
 * between exchanges but what was merged, so an exchange that is cut off goes on where it was.
 *
 * With `lastEqual` the records that each side applied since then are exchanged first, for a peer
 * that was out of reach of gossip. It ends when both are equal, or two rounds changed nothing.
 *
 * Throws `PEER_FAILED` for answers that make no sense, and what `ask`, the store or the signal throw.
 */
export async function reconcile(
  mine: ReconcileStore,
  ask: Ask,
  signal: AbortSignal,
  lastEqual?: LastEqual
): Promise<Reconciled> {
  const exchange = async (request: Request): Promise<Answer> => {
    signal.throwIfAborted()
    return decodeAnswer(await ask(encodeRequest(request)))
  }
  let received = 0
  let sent = 0
  let refused: unknown
  let isInVain = false
  let hasListened = false
  const count = (moved: Moved) => {
    received += moved.received
    sent += moved.sent
    refused ??= moved.refused
    return moved.received + moved.sent > 0
  }
  for (let round = 0; ; round++) {
    const answer = await exchange({ kind: 'compare', root: mine.root() })
    if (answer.kind === 'equal') return { received, sent, end: 'equal', terms: answer.terms }
    if (answer.kind !== 'summaries' || answer.terms === undefined) throw unexpected(answer)
    if (round === MAX_ROUNDS) return { received, sent, end: 'busy' }
    const doubted = mine.doubts(answer.terms) ? answer.terms : undefined
    if (round === 0 && doubted === undefined && lastEqual !== undefined) {
      if (count(await exchangeNews(mine, lastEqual, exchange))) continue
    }
    const prefixes = await findDifferences(mine, answer.summaries, exchange)
    // Who is in doubt hears the other side out before it says anything of its own.
    const listens: boolean = doubted !== undefined && !hasListened
    hasListened ||= listens
    const doubt = doubted && { terms: doubted, witnesses: await witnessesOf(exchange) }
    const outbox = listens ? undefined : new Outbox(mine, exchange, doubt)
    const moved = count(await exchangeRanges(mine, prefixes, exchange, outbox))
    if (listens) continue
    if (refused !== undefined) return { received, sent, end: 'refused', refused }
    // Gossip may have brought what differed meanwhile: only a second round in vain says that it stays.
    if (!moved && isInVain) return { received, sent, end: 'stuck' }
    isInVain = !moved
  }
}

/** What either of two ascending lists of ids lacks of the other. */
export function difference(
  mine: readonly Uint8Array[],
  theirs: readonly Uint8Array[]
): { lacking: Uint8Array[]; extra: Uint8Array[] } {
  const lacking: Uint8Array[] = []
  const extra: Uint8Array[] = []
  for (let i = 0, j = 0; i < mine.length || j < theirs.length; ) {
    const [ours, other] = [mine[i], theirs[j]]
    const order = ours === undefined ? 1 : other === undefined ? -1 : Buffer.compare(ours, other)
    if (order < 0 && ours !== undefined) extra.push(ours)
    if (order > 0 && other !== undefined) lacking.push(other)
    if (order <= 0) i++
    if (order >= 0) j++
  }
  return { lacking, extra }
}

interface Moved {
  readonly received: number
  readonly sent: number
  readonly refused?: unknown
}

async function exchangeNews(
  mine: ReconcileStore,
  { theirs, mine: from }: LastEqual,
  exchange: Exchange
): Promise<Moved> {
  // Before anything is taken, since what the peer brings would be news here.
  const ours = mine.since?.(from, GET_IDS)
  let received = 0
  let position = theirs
  for (let frames = 0; frames < MAX_NEWS; frames++) {
    const answer = await exchange({ kind: 'since', position })
    if (answer.kind !== 'news') throw unexpected(answer)
    received += (await mine.apply(answer.records, answer.vouched)).applied.length
    if (answer.upTo === undefined || !answer.more) break
    position = { epoch: theirs.epoch, sequence: answer.upTo }
  }
  const outbox = new Outbox(mine, exchange, undefined)
  await outbox.send(ours?.ids ?? [])
  await outbox.finish()
  return { received, ...outbox.moved() }
}

async function witnessesOf(exchange: Exchange): Promise<ReadonlySet<string>> {
  const answer = await exchange({ kind: 'witnesses' })
  if (answer.kind === 'witnesses') return new Set(answer.ids)
  throw unexpected(answer)
}

/** The smallest ranges in which the sets differ, or such as are cheap to list; ascending. */
async function findDifferences(
  mine: ReconcileStore,
  theirRoot: readonly Summary[],
  exchange: Exchange
): Promise<Prefix[]> {
  const found: Prefix[] = []
  let divided: readonly Prefix[] = ['']
  let theirs: readonly Summary[] = theirRoot
  for (;;) {
    if (theirs.length !== divided.length * FANOUT) throw malformedSummaries()
    const differing: Prefix[] = []
    for (const [i, prefix] of divided.entries()) {
      for (const [digit, ours] of mine.divide(prefix).entries()) {
        const other = theirs[i * FANOUT + digit]
        if (other === undefined || (other.count === ours.count && other.hash.equals(ours.hash))) {
          continue
        }
        const range = prefix + digit.toString(16)
        if (isListed(range, ours.count, other.count)) found.push(range)
        else differing.push(range)
      }
    }
    if (differing.length === 0) return found.sort()
    divided = differing
    theirs = await divideAll(differing, exchange)
  }
}

function isListed(range: Prefix, ours: number, theirs: number): boolean {
  if (range.length === MAX_DEPTH) return true
  const most = Math.max(ours, theirs)
  return most <= LIST_AT_MOST || (Math.min(ours, theirs) === 0 && most <= LIST_WHOLE_AT_MOST)
}

async function divideAll(prefixes: readonly Prefix[], exchange: Exchange): Promise<Summary[]> {
  const summaries: Summary[] = []
  for (let at = 0; at < prefixes.length; at += MAX_PREFIXES) {
    const answer = await exchange({
      kind: 'divide',
      prefixes: prefixes.slice(at, at + MAX_PREFIXES)
    })
    if (answer.kind !== 'summaries') throw unexpected(answer)
    summaries.push(...answer.summaries)
  }
  return summaries
}

/** Goes through the ids of both sides in pages, so that memory does not grow with the sets. */
async function exchangeRanges(
  mine: ReconcileStore,
  prefixes: readonly Prefix[],
  exchange: Exchange,
  outbox: Outbox | undefined
): Promise<Moved> {
  const inbox = new Inbox(mine, exchange)
  for (let at = 0; at < prefixes.length; at += LIST_PREFIXES) {
    const group = prefixes.slice(at, at + LIST_PREFIXES)
    for await (const { lacking, extra } of comparePages(mine, group, exchange)) {
      await inbox.fetch(lacking)
      await outbox?.send(extra)
    }
  }
  await inbox.finish()
  await outbox?.finish()
  return { sent: 0, ...outbox?.moved(), received: inbox.received }
}

async function* comparePages(
  mine: ReconcileStore,
  prefixes: readonly Prefix[],
  exchange: Exchange
): AsyncGenerator<{ lacking: readonly Uint8Array[]; extra: readonly Uint8Array[] }, void> {
  let after: Uint8Array | undefined
  for (let pages = 0; pages < MAX_PAGES; pages++) {
    const page = await exchange({ kind: 'list', prefixes, after })
    if (page.kind !== 'ids' || !isSoundPage(page.ids, prefixes, after)) throw unexpected(page)
    const upTo = page.more ? page.ids.at(-1) : undefined
    if (page.more && upTo === undefined) throw unexpected(page)
    const ours: Uint8Array[] = []
    for (const prefix of prefixes) {
      for (const id of await mine.idsIn(prefix, after)) {
        if (upTo === undefined || Buffer.compare(id, upTo) <= 0) ours.push(id)
      }
    }
    yield difference(ours, page.ids)
    after = upTo
    if (after === undefined) return
  }
  throw new StarlingError('PEER_FAILED', 'a peer lists ids without end')
}

/** Ascending, after `after`, and each in one of the ranges, which are ascending too. */
function isSoundPage(
  ids: readonly Uint8Array[],
  prefixes: readonly Prefix[],
  after: Uint8Array | undefined
): boolean {
  let range = 0
  return ids.every((id, i) => {
    const before = ids[i - 1] ?? after
    if (before !== undefined && Buffer.compare(id, before) <= 0) return false
    const start = Buffer.from(id.subarray(0, MAX_DEPTH / 2)).toString('hex')
    while (range < prefixes.length && !start.startsWith(prefixes[range] ?? '')) range++
    return range < prefixes.length
  })
}

function malformedSummaries(): StarlingError {
  return new StarlingError('PEER_FAILED', 'a peer sums up other ranges than those asked for')
}
