import { StarlingError } from '../errors.ts'
import type { Outcome } from './commits.ts'
import type { Draft } from './draft.ts'
import { contextOf, greatestStamp, liveHeads } from './merge.ts'
import { encodeRecord, type StampedRecord } from './record.ts'
import { registerName } from './register.ts'
import { type HybridClock, MAX_STAMP } from './stamp.ts'
import type { Change } from './values.ts'

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
  for (const change of changes) {
    const heads = await draft.heads(registerName(change))
    if (greatestStamp(heads) < MAX_STAMP - MAX_WRITES) continue
    throw new StarlingError('RECORD_INVALID', `no stamp is left above ${change.key}`)
  }
  const outcomes: Outcome[] = []
  for (const { kind, key, body } of changes) {
    const heads = await draft.heads(registerName({ kind, key }))
    if (body === undefined && liveHeads(heads).length === 0) continue
    const stamp = clock.issue(greatestStamp(heads))
    const seen = contextOf(heads)
    const record = encodeRecord({ kind, key, origin, stamp, seen, body: body ?? TOMBSTONE })
    outcomes.push(...(await mergeOne(draft, record)))
  }
  return outcomes
}

/** Merges records of peers; those known or replaced already have no outcome. */
export async function planApply(
  draft: Draft,
  records: readonly StampedRecord[]
): Promise<readonly Outcome[]> {
  const outcomes: Outcome[] = []
  for (const record of records) outcomes.push(...(await mergeOne(draft, record)))
  return outcomes
}

async function mergeOne(draft: Draft, record: StampedRecord): Promise<Outcome[]> {
  const { before, heads, added } = await draft.merge(record)
  return added ? [{ record, before, after: heads }] : []
}
