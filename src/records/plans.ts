import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Outcome } from './commits.ts'
import type { Draft } from './draft.ts'
import { contextOf, greatestStamp, type Heads, liveHeads } from './merge.ts'
import { encodeRecord, type StampedRecord } from './record.ts'
import { registerName } from './register.ts'
import { type HybridClock, MAX_STAMP, type Stamp } from './stamp.ts'
import type { Standing } from './standing.ts'
import { type Change, currentValue } from './values.ts'

/** Changes in one call of `write`, which become durable together: a manifest and its tags are few. */
export const MAX_WRITES = 1_024

export interface Writer {
  readonly origin: string
  readonly clock: HybridClock
}

const TOMBSTONE = new Map([['deleted', true]])

/**
 * Stamps changes of this node and merges them. Deleting what is not there writes nothing.
 *
 * All registers are looked at first, since nothing may fail once the first record is merged.
 * Throws `RECORD_INVALID` when one of them has no stamp left.
 */
export async function planWrite(
  draft: Draft,
  changes: readonly Change[],
  { origin, clock }: Writer
): Promise<readonly Outcome[]> {
  await draft.load(changes.map(registerName))
  for (const change of changes) {
    const heads = await draft.heads(registerName(change))
    if (greatestStamp(heads) < MAX_STAMP - MAX_WRITES) continue
    throw new StarlingError('RECORD_INVALID', `no stamp is left above ${change.key}`)
  }
  const outcomes: Outcome[] = []
  for (const { kind, key, body, pointingAt } of changes) {
    const heads = await draft.heads(registerName({ kind, key }))
    if (body === undefined && liveHeads(heads).length === 0) continue
    if (pointingAt !== undefined && targetOf(heads) !== pointingAt) continue
    const stamp = clock.issue(greatestStamp(heads))
    const seen = contextOf(heads)
    const record = encodeRecord({ kind, key, origin, stamp, seen, body: body ?? TOMBSTONE })
    outcomes.push(...(await mergeOne(draft, record)))
  }
  return outcomes
}

/** Where a tag points. */
function targetOf(heads: Heads): Digest | undefined {
  const value = currentValue(heads)
  return value?.kind === 'tag' ? value.digest : undefined
}

/** Who gave records, and up to which stamp it stands for them. */
export interface Giver {
  readonly peer: string
  readonly vouched: Stamp
}

/**
 * Merges records of peers; those known, replaced already or not acceptable have no outcome. Records
 * without a giver were written just now by whoever sent them.
 */
export async function planApply(
  draft: Draft,
  records: readonly StampedRecord[],
  standing: Standing,
  giver?: Giver
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  await draft.load(records.map(registerName))
  for (const record of records) {
    if (!standing.accepts(record, giver)) continue
    const merged = await mergeOne(draft, record)
    for (const outcome of merged) standing.heed(outcome)
    outcomes.push(...merged)
  }
  return outcomes
}

/**
 * Takes records out that are dead. The journal gets a tombstone for each, so that they stay dead
 * when the index is built from it; it is dropped at once, as all others have dropped theirs.
 */
export async function planBury(
  draft: Draft,
  dead: readonly StampedRecord[]
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  for (const { kind, key, origin, stamp, deleted, id } of dead) {
    let dropped = id
    if (!deleted) {
      const next = (stamp + 1) as Stamp
      const seen = new Map([[origin, stamp]])
      const tombstone = encodeRecord({ kind, key, origin, stamp: next, seen, body: TOMBSTONE })
      outcomes.push(...(await mergeOne(draft, tombstone)))
      dropped = tombstone.id
    }
    await draft.drop(registerName({ kind, key }), head => head.id === dropped)
  }
  return outcomes
}

/** Writes tombstones anew, with what they replaced and nothing else. */
export async function planRenew(
  draft: Draft,
  tombstones: readonly StampedRecord[],
  { origin, clock }: Writer
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  for (const old of tombstones) {
    const { kind, key } = old
    const seen = contextOf([old])
    const record = encodeRecord({
      ...{ kind, key, origin, seen, body: TOMBSTONE },
      stamp: clock.issue(old.stamp)
    })
    outcomes.push(...(await mergeOne(draft, record)))
  }
  return outcomes
}

async function mergeOne(draft: Draft, record: StampedRecord): Promise<Outcome[]> {
  const { before, heads, added } = await draft.merge(record)
  return added ? [{ record, before, after: heads }] : []
}
