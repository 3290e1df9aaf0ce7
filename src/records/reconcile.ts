import { isCode, StarlingError } from '../errors.ts'
import { BUCKETS, type Root } from './fingerprint.ts'
import {
  type Answer,
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  encodeRequest,
  MAX_IDS,
  type Request
} from './wire.ts'

/** What reconciliation needs of a set of records; `Records` is one. */
export interface ReconcileStore {
  root(): Root
  bucketHashes(): readonly string[]
  /** Ascending. */
  idsOf(bucket: number): Promise<readonly Uint8Array[]>
  get(ids: readonly Uint8Array[]): Promise<readonly Uint8Array[]>
  apply(records: readonly Uint8Array[]): Promise<{
    readonly applied: readonly unknown[]
    readonly invalid: number
  }>
}

/** Sends a request to one peer and gives its answer; both stay within `MAX_FRAME_BYTES`. */
export type Ask = (request: Uint8Array) => Promise<Uint8Array>

export interface Reconciled {
  /** Records of the peer that were new here. */
  readonly received: number
  /** Records of ours that were new to the peer. */
  readonly sent: number
  /** Whether both sides had the same records at the end. */
  readonly equal: boolean
  /** Why the peer did not take ours, if so. All that it has is here nevertheless. */
  readonly refused?: unknown
}

/** Each round settles all it saw; more than one is for what changed meanwhile. */
const MAX_ROUNDS = 4
/** Records asked for or sent at once; at 4 KiB each they still fit one frame. */
const GET_IDS = 240
/** Pages of ids that a peer may list in one round: 16 million records. */
const MAX_PAGES = 1_024

/**
 * Makes this set and a peer's equal: compares roots, then the hashes of 256 buckets, then the ids
 * of those that differ, and exchanges the records that either side lacks. Equal sets cost one
 * exchange of less than 100 bytes. Ends when they are equal, or a round changed nothing.
 *
 * Throws `PEER_FAILED` for answers that make no sense, and what `ask`, the store or the signal throw.
 */
export async function reconcile(
  mine: ReconcileStore,
  ask: Ask,
  signal: AbortSignal
): Promise<Reconciled> {
  const exchange = async (request: Request): Promise<Answer> => {
    signal.throwIfAborted()
    return decodeAnswer(await ask(encodeRequest(request)))
  }
  let received = 0
  let sent = 0
  for (let round = 0; ; round++) {
    const answer = await exchange({ kind: 'compare', root: mine.root() })
    if (answer.kind === 'equal') return { received, sent, equal: true }
    if (answer.kind !== 'buckets') throw unexpected(answer)
    if (round === MAX_ROUNDS) return { received, sent, equal: false }
    const buckets = differingBuckets(mine.bucketHashes(), answer.hashes)
    const moved = await exchangeBuckets(mine, buckets, exchange)
    received += moved.received
    sent += moved.sent
    const { refused } = moved
    if (refused !== undefined) return { received, sent, equal: false, refused }
    if (moved.received + moved.sent === 0) return { received, sent, equal: false }
  }
}

/** The other side of {@link reconcile}: answers one request. Throws `PEER_FAILED` for a bad one. */
export async function answer(mine: ReconcileStore, request: Uint8Array): Promise<Uint8Array> {
  return encodeAnswer(await answerTo(mine, decodeRequest(request)))
}

/** The numbers of the buckets whose hashes differ. */
export function differingBuckets(mine: readonly string[], theirs: readonly string[]): number[] {
  const buckets = Array.from({ length: BUCKETS }, (_, bucket) => bucket)
  return buckets.filter(bucket => mine[bucket] !== theirs[bucket])
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

async function answerTo(mine: ReconcileStore, request: Request): Promise<Answer> {
  switch (request.kind) {
    case 'compare': {
      const root = mine.root()
      const equal = root.hash === request.root.hash && root.count === request.root.count
      return equal ? { kind: 'equal' } : { kind: 'buckets', hashes: mine.bucketHashes() }
    }
    case 'list':
      return await listPage(mine, request.buckets, request.after)
    case 'get':
      return { kind: 'records', records: await mine.get(request.ids.slice(0, GET_IDS)) }
    case 'put': {
      const { applied, invalid } = await mine.apply(request.records)
      return { kind: 'applied', applied: applied.length, invalid }
    }
  }
}

type Exchange = (request: Request) => Promise<Answer>

async function listPage(
  mine: ReconcileStore,
  buckets: readonly number[],
  after: Uint8Array | undefined
): Promise<Answer> {
  const page: Uint8Array[] = []
  for (const bucket of buckets) {
    if (page.length > MAX_IDS) break
    if (after !== undefined && bucket < (after[0] ?? 0)) continue
    for (const id of await mine.idsOf(bucket)) {
      if (page.length <= MAX_IDS && isBetween(id, after, undefined)) page.push(id)
    }
  }
  return { kind: 'ids', ids: page.slice(0, MAX_IDS), more: page.length > MAX_IDS }
}

/** Goes through the ids of both sides in pages, so that memory does not grow with the sets. */
async function exchangeBuckets(
  mine: ReconcileStore,
  buckets: readonly number[],
  exchange: Exchange
): Promise<{ received: number; sent: number; refused?: unknown }> {
  let refused: unknown
  const inbox = new Batches(ids => fetchRecords(mine, ids, exchange))
  const outbox = new Batches(async ids => {
    if (refused !== undefined) return 0
    try {
      return await pushRecords(mine, ids, exchange)
    } catch (error) {
      // A peer with a full disk takes nothing, but what it has must reach us all the same.
      if (!isCode(error, 'PEER_FAILED')) throw error
      refused = error
      return 0
    }
  })
  let after: Uint8Array | undefined
  for (let pages = 0; ; pages++) {
    const page = await exchange({ kind: 'list', buckets, after })
    if (page.kind !== 'ids' || pages >= MAX_PAGES) throw unexpected(page)
    if (!isSoundPage(page.ids, buckets, after)) throw unexpected(page)
    const upTo = page.more ? page.ids.at(-1) : undefined
    for (const bucket of buckets) {
      const ours = (await mine.idsOf(bucket)).filter(id => isBetween(id, after, upTo))
      const { lacking, extra } = difference(
        ours,
        page.ids.filter(id => id[0] === bucket)
      )
      await inbox.add(lacking)
      await outbox.add(extra)
    }
    after = upTo
    if (after === undefined) break
  }
  const [received, sent] = [await inbox.finish(), await outbox.finish()]
  return refused === undefined ? { received, sent } : { received, sent, refused }
}

function isSoundPage(
  ids: readonly Uint8Array[],
  buckets: readonly number[],
  after: Uint8Array | undefined
): boolean {
  const asked = new Set(buckets)
  return ids.every(
    (id, i) => isBetween(id, ids[i - 1] ?? after, undefined) && asked.has(id[0] ?? 0)
  )
}

/** Above `after` and not above `upTo`; either may be open. */
function isBetween(
  id: Uint8Array,
  after: Uint8Array | undefined,
  upTo: Uint8Array | undefined
): boolean {
  if (after !== undefined && Buffer.compare(id, after) <= 0) return false
  return upTo === undefined || Buffer.compare(id, upTo) <= 0
}

/** Collects ids over buckets, and works them off in full batches. */
class Batches {
  readonly #work: (ids: readonly Uint8Array[]) => Promise<number>
  #ids: Uint8Array[] = []
  #done = 0

  constructor(work: (ids: readonly Uint8Array[]) => Promise<number>) {
    this.#work = work
  }

  async add(ids: readonly Uint8Array[]): Promise<void> {
    for (const id of ids) {
      this.#ids.push(id)
      if (this.#ids.length >= GET_IDS) await this.#flush()
    }
  }

  /** Works off the rest; gives the sum of what the work gave. */
  async finish(): Promise<number> {
    if (this.#ids.length > 0) await this.#flush()
    return this.#done
  }

  async #flush(): Promise<void> {
    const ids = this.#ids
    this.#ids = []
    this.#done += await this.#work(ids)
  }
}

/** A peer may have replaced some of what it listed: what does not come is left to the next round. */
async function fetchRecords(
  mine: ReconcileStore,
  ids: readonly Uint8Array[],
  exchange: Exchange
): Promise<number> {
  const answer = await exchange({ kind: 'get', ids })
  if (answer.kind !== 'records') throw unexpected(answer)
  return (await mine.apply(answer.records)).applied.length
}

async function pushRecords(
  mine: ReconcileStore,
  ids: readonly Uint8Array[],
  exchange: Exchange
): Promise<number> {
  const records = await mine.get(ids)
  if (records.length === 0) return 0
  const answer = await exchange({ kind: 'put', records })
  if (answer.kind !== 'applied') throw unexpected(answer)
  return Math.min(answer.applied, records.length)
}

function unexpected(answer: Answer): StarlingError {
  return new StarlingError('PEER_FAILED', `an answer "${answer.kind}" that does not fit`)
}
