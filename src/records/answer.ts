import { FANOUT, type Prefix, type Root, type Summary } from './fingerprint.ts'
import type { Judged } from './forgetting.ts'
import type { Terms } from './horizon.ts'
import { MAX_RECORD_BYTES } from './record.ts'
import type { Stamp } from './stamp.ts'
import { MAX_FRAME_BYTES, MAX_IDS } from './wire.ts'
import { type Answer, encodeAnswer } from './wire-answer.ts'
import { decodeRequest, type Position, type Request } from './wire-request.ts'

/** What reconciliation needs of a set of records. */
export interface ReconcileStore {
  root(): Root
  /** The summaries of the {@link FANOUT} ranges that a range divides into. */
  divide(prefix: Prefix): readonly Summary[]
  /** Ids in a range that follow `after`, ascending. */
  idsIn(prefix: Prefix, after?: Uint8Array, limit?: number): Promise<readonly Uint8Array[]>
  get(ids: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
  /** Merges records from the peer, who stands for them up to a stamp. */
  apply(
    records: readonly Uint8Array[],
    vouched: Stamp
  ): Promise<{
    readonly applied: readonly unknown[]
    readonly invalid: number
  }>
  /** What the peer must know of this node's memory. */
  terms(): Terms
  /** Up to which stamp this node stands for what it gives. */
  vouched(): Stamp
  /** Whether a peer with these terms may know of deletions that this node can learn nowhere else. */
  doubts(terms: Terms): boolean
  /** Goes through old records that a peer with these terms lacks, see `Forgetting.judge`. */
  judge(
    records: readonly Uint8Array[],
    terms: Terms,
    witnesses: ReadonlySet<string>
  ): Promise<Judged>
  /** This node and the members of which it has had all that lies where it has dropped tombstones. */
  witnesses(): readonly string[]
  /** Ids applied after a position, up to `limit`; `undefined` when that is not known. */
  since?(
    position: Position,
    limit: number
  ): { readonly ids: readonly Uint8Array[]; readonly upTo: number } | undefined
}

/** Records read at once while a frame is filled; the last read must still fit, whatever its size. */
const READ_RECORDS = 64
/** A frame with less than this much in it has room for {@link READ_RECORDS} more. */
const FULL_FRAME_BYTES = MAX_FRAME_BYTES - (READ_RECORDS + 1) * (MAX_RECORD_BYTES + 8)

/** The other side of `reconcile`: answers one request. Throws `PEER_FAILED` for a bad one. */
export async function answer(mine: ReconcileStore, request: Uint8Array): Promise<Uint8Array> {
  return encodeAnswer(await answerTo(mine, decodeRequest(request)))
}

async function answerTo(mine: ReconcileStore, request: Request): Promise<Answer> {
  switch (request.kind) {
    case 'compare': {
      const root = mine.root()
      const equal = root.hash === request.root.hash && root.count === request.root.count
      const terms = mine.terms()
      return equal
        ? { kind: 'equal', terms }
        : { kind: 'summaries', summaries: mine.divide(''), terms }
    }
    case 'divide': {
      const summaries = request.prefixes.flatMap(prefix => mine.divide(prefix))
      return { kind: 'summaries', summaries }
    }
    case 'list':
      return await listPage(mine, request.prefixes, request.after)
    case 'get':
      return {
        kind: 'records',
        ...(await readFrame(mine, request.ids)),
        vouched: mine.vouched()
      }
    case 'put': {
      const { applied, invalid } = await mine.apply(request.records, request.vouched)
      return { kind: 'applied', applied: applied.length, invalid }
    }
    case 'witnesses':
      return { kind: 'witnesses', ids: mine.witnesses() }
    case 'since':
      return await newsAfter(mine, request.position)
  }
}

async function listPage(
  mine: ReconcileStore,
  prefixes: readonly Prefix[],
  after: Uint8Array | undefined
): Promise<Answer> {
  const page: Uint8Array[] = []
  const done = after === undefined ? '' : Buffer.from(after).toString('hex')
  for (const prefix of prefixes) {
    if (page.length > MAX_IDS) break
    if (prefix < done && !done.startsWith(prefix)) continue
    page.push(...(await mine.idsIn(prefix, after, MAX_IDS + 1 - page.length)))
  }
  return { kind: 'ids', ids: page.slice(0, MAX_IDS), more: page.length > MAX_IDS }
}

/** The records of as many of the ids as fit one frame, and how many of the ids that are. */
export async function readFrame(
  mine: Pick<ReconcileStore, 'get'>,
  ids: readonly Uint8Array[]
): Promise<{ records: readonly Uint8Array[]; served: number }> {
  const records: Uint8Array[] = []
  let bytes = 0
  let served = 0
  while (served < ids.length && bytes < FULL_FRAME_BYTES) {
    const next = ids.slice(served, served + READ_RECORDS)
    for (const record of await mine.get(next)) {
      records.push(record)
      bytes += record.length + 8
    }
    served += next.length
  }
  return { records, served }
}

/** Ids of the log in one answer: with records of usual size about as many as fill a frame. */
const NEWS_IDS = 1_024

async function newsAfter(mine: ReconcileStore, position: Position): Promise<Answer> {
  const news = mine.since?.(position, NEWS_IDS)
  const vouched = mine.vouched()
  if (news === undefined) {
    return { kind: 'news', records: [], upTo: undefined, more: false, vouched }
  }
  const { records, served } = await readFrame(mine, news.ids)
  // What does not fit is left to the ranges, which is rare: records of kilobytes are.
  const whole = served === news.ids.length
  const upTo = whole ? news.upTo : undefined
  const more = whole && news.ids.length === NEWS_IDS
  return { kind: 'news', records, upTo, more, vouched }
}
