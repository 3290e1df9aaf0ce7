import type { RecordId, StampedRecord } from './record.ts'
import { type Stamp, ZERO_STAMP } from './stamp.ts'

/*
 * Forgetting: how tombstones come to an end, though no clock may decide it (design.md section 5).
 *
 * A tombstone must be kept as long as anyone may still bring back what it deleted. So there is a
 * horizon, a stamp that all nodes know (a record, the greatest counts), and tombstones at or below
 * it are dropped: neither fingerprinted, nor sent, nor accepted. Three numbers lead to it.
 *
 * - A node *promises* a stamp: it journals that nothing it will write is at or below it. Its next
 *   heartbeats carry the promise together with the root of its records.
 * - A node *has covered* another up to a promise when that root was once its own: by then it had all
 *   that the other had, and the other adds nothing below the promise. The least promise it has so
 *   covered of all members not gone, its own included, it *confirms* and journals: every record of
 *   any member at or below that stamp is, or was until it was replaced, in its set.
 * - The horizon is raised to the least stamp that all members not gone have confirmed. Whoever
 *   raises it counts a confirmation only with a root that was its own, and so knows every member that
 *   the confirming node knew.
 *
 * Between members nothing deleted can come back: a tombstone is dropped when all of them have merged
 * it, so none of them has what it deleted. A clock that stands still or is set back holds the
 * horizon back; one that runs ahead does not move it, for the least promise counts. Nobody's wall
 * clock drops anything.
 *
 * Who is forgotten is not waited for, and may return with records that were deleted and whose
 * tombstones are gone; so may a node that was set back to an old copy of its disk. Either is *in
 * doubt*: its member record has a tombstone, or it has confirmed less than the horizon. Of what a
 * member N lacks, only what lies at or below the stamp up to which N has dropped tombstones can be
 * meant, since above it N would have the tombstone. Such a record is dead if some member is known to
 * have had it of whom N has covered all that lies there: that member has it no more, or N would have
 * it too, and only a later record can have taken it away. A member is known to have had a record that
 * it wrote itself, and one at or below the stamp *shared* with it: what this node had confirmed when
 * their roots were last equal. What no member is known to have had is kept and given to them: it may
 * have been written, and acknowledged, on the other side. So nothing live is lost.
 *
 * A tombstone of a node in doubt that no member is known to have had is written anew, above the
 * horizon: they would not accept it where it is. Members that are in doubt with each other, after
 * each side forgot the other, judge both ways before either is a member again.
 *
 * What remains: a record that this node got in its last moments before it was forgotten, after it
 * last stood level with any who still is a member, whose writer is gone for good, and that was
 * deleted meanwhile, comes back. It cannot be told from one that only this node has, and to lose
 * that one would be worse.
 */

/** What a node has journalled of itself, and may tell others. */
export interface Testimony {
  /** Nothing that this node will write is at or below it. */
  readonly promised: Stamp
  /** All that members not gone had at or below it is, or was, here. */
  readonly confirmed: Stamp
  /** By member: everything here at or below the stamp was there too, but for what is in `late`. */
  readonly shared: ReadonlyMap<string, Shared>
  /** Records that came from somebody in doubt, old as they were, and when. */
  readonly late: ReadonlyMap<RecordId, number>
  /** Counts the late records. */
  readonly turn: number
}

export interface Shared {
  readonly stamp: Stamp
  /** How many late records had come by then. */
  readonly turn: number
}

/** What nodes tell each other at the start of an exchange. */
export interface Terms {
  /** Up to this stamp the sender has dropped tombstones. */
  readonly dropped: Stamp
  /** What the sender has confirmed. */
  readonly confirmed: Stamp
  /** Whether the member record of the receiver has a tombstone at the sender. */
  readonly forgotten: boolean
}

export const NO_TESTIMONY: Testimony = {
  promised: ZERO_STAMP,
  confirmed: ZERO_STAMP,
  shared: new Map(),
  late: new Map(),
  turn: 0
}

export const NO_TERMS: Terms = { dropped: ZERO_STAMP, confirmed: ZERO_STAMP, forgotten: false }

/** That a member was forgotten must stay known: it is how it learns that it has to be judged. */
const KEPT_KINDS = new Set(['member', 'horizon'])

/** Whether a record is a tombstone that the horizon may make an end of. */
export function isForgettable(record: Pick<StampedRecord, 'kind' | 'deleted'>): boolean {
  return record.deleted && isForgettableKind(record.kind)
}

/** Whether records of a kind are judged; those about members have to reach everybody. */
export function isForgettableKind(kind: string): boolean {
  return !KEPT_KINDS.has(kind)
}

/**
 * What a node may confirm: the least of its own promise and those it has covered of all others.
 * `covered` has no entry for a member that was not heard since this process began.
 */
export function confirmable(
  promised: Stamp,
  others: Iterable<string>,
  covered: ReadonlyMap<string, Stamp>
): Stamp {
  let least = promised
  for (const id of others) {
    const stamp = covered.get(id) ?? ZERO_STAMP
    if (stamp < least) least = stamp
  }
  return least
}

/** Late records remembered by name. Beyond, less counts as shared than could. */
const MAX_LATE = 1_024

/** What is known of those who were members when a node in doubt was last one of them. */
export interface Evidence {
  readonly self: string
  /** The other side, and the members of which it has had all there is; see `Standing.witnesses`. */
  readonly witnesses: ReadonlySet<string>
  readonly testimony: Testimony
  /** The horizon that this node knows of. */
  readonly horizon: Stamp
}

/**
 * What a node in doubt does with a record that the other side lacks: `give` it as any other, `hold`
 * it back until somebody is asked who knows, `keep` it and stand for it, or take it for `dead`.
 */
export type Verdict = 'give' | 'hold' | 'keep' | 'dead'

export function judge(
  record: Pick<StampedRecord, 'id' | 'origin' | 'stamp'>,
  terms: Pick<Terms, 'dropped'>,
  { self, witnesses, testimony, horizon }: Evidence
): Verdict {
  const { origin, stamp } = record
  if (stamp > terms.dropped) return stamp > horizon ? 'give' : 'hold'
  for (const member of witnesses) {
    if (member === self) continue
    if (member === origin || wasShared(record, testimony, member)) return 'dead'
  }
  return 'keep'
}

/**
 * A testimony after a record came that others may never have had, at or below what was shared with
 * them: from somebody who was in doubt. The same one when nothing had to change.
 */
export function afterLateRecord(
  testimony: Testimony,
  { id, stamp }: Pick<StampedRecord, 'id' | 'stamp'>
): Testimony {
  const { shared, late } = testimony
  if (!shared.values().some(each => stamp <= each.stamp)) return testimony
  const turn = testimony.turn + 1
  const least = Math.min(...shared.values().map(each => each.turn))
  const known = new Map(late.entries().filter(([, at]) => at > least)).set(id, turn)
  if (known.size <= MAX_LATE) return { ...testimony, late: known, turn }
  const lowered = shared
    .entries()
    .map(([member, each]) => [member, { stamp: Math.min(each.stamp, below(stamp)) as Stamp, turn }])
  const shares = new Map(lowered as Iterable<[string, Shared]>)
  return { ...testimony, shared: shares, late: new Map(), turn }
}

function wasShared(
  { id, stamp }: Pick<StampedRecord, 'id' | 'stamp'>,
  { shared, late }: Testimony,
  member: string
): boolean {
  const each = shared.get(member)
  return each !== undefined && stamp <= each.stamp && (late.get(id) ?? 0) <= each.turn
}

function below(stamp: Stamp): number {
  return Math.max(0, stamp - 1)
}
