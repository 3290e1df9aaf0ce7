import { EVERYONE, type Seen, type StampedRecord } from './record.ts'
import { type Stamp, ZERO_STAMP } from './stamp.ts'

/**
 * The heads of a register: its records that no other record covers, greatest first. Two nodes with
 * the same records have the same heads in the same order, whatever way the records came.
 */
export type Heads = readonly StampedRecord[]

export interface Merged {
  readonly heads: Heads
  /** Whether the record is now one of the heads; false when it was known or is covered. */
  readonly added: boolean
  /** Heads that are no longer. */
  readonly replaced: Heads
}

/**
 * Origins a context names one by one. A record with so many still fits its 4 KiB; of a register
 * that more nodes have written, the oldest go under {@link EVERYONE}.
 */
export const MAX_SEEN_ORIGINS = 24

/**
 * Records of one register that may stand side by side, each written without knowledge of the
 * others: far more than nodes write one tag at once. Beyond it the oldest are dropped, which only
 * a flood of forged origins brings about.
 */
export const MAX_HEADS = 128

/** Adds a record to the heads of its register: commutative, associative and idempotent. */
export function mergeInto(heads: Heads, record: StampedRecord): Merged {
  if (heads.some(head => head.id === record.id || covers(head, record))) {
    return { heads, added: false, replaced: [] }
  }
  const standing = heads.filter(head => !covers(record, head))
  const merged = [...standing, record].sort(greatestFirst)
  const dropped = merged.splice(MAX_HEADS)
  return {
    heads: merged,
    added: !dropped.includes(record),
    replaced: [...heads.filter(head => covers(record, head)), ...dropped.filter(d => d !== record)]
  }
}

/** Whether `record` was written with knowledge of `other`, a record of the same register. */
export function covers(record: StampedRecord, other: StampedRecord): boolean {
  const upTo = Math.max(record.seen.get(other.origin) ?? -1, record.seen.get(EVERYONE) ?? -1)
  return other.stamp <= upTo
}

/**
 * The context of a record that replaces `heads`: all of them and all that they replaced, so that
 * a record replaced long ago is known for dead also where only its distant successor arrived.
 *
 * When more than {@link MAX_SEEN_ORIGINS} origins are in it, the oldest entries become one entry
 * for everyone at the greatest of their stamps. Nothing replaced can come back that way. The price:
 * a record that nobody here has seen, and that is older than the last 24 origins' writes to this
 * very register, counts as seen.
 */
export function contextOf(heads: Heads): Seen {
  const seen = new Map<string, Stamp>()
  for (const head of heads) {
    for (const [origin, stamp] of head.seen) raise(seen, origin, stamp)
    raise(seen, head.origin, head.stamp)
  }
  let everyone = seen.get(EVERYONE) ?? (-1 as Stamp)
  seen.delete(EVERYONE)
  const newestFirst = [...seen].sort((a, b) => b[1] - a[1] || compareText(a[0], b[0]))
  for (const [, stamp] of newestFirst.splice(MAX_SEEN_ORIGINS)) {
    if (stamp > everyone) everyone = stamp
  }
  const named = newestFirst.filter(([, stamp]) => stamp > everyone)
  return new Map(everyone < 0 ? named : [...named, [EVERYONE, everyone]])
}

/** The greatest stamp among the heads, which the next write must exceed. */
export function greatestStamp(heads: Heads): Stamp {
  return heads[0]?.stamp ?? ZERO_STAMP
}

/** The heads that are no tombstones. More than one: nodes wrote without knowing of each other. */
export function liveHeads(heads: Heads): Heads {
  return heads.filter(head => !head.deleted)
}

/** The order among heads: by stamp, and where nodes wrote in the same instant, by origin and id. */
function greatestFirst(a: StampedRecord, b: StampedRecord): number {
  return b.stamp - a.stamp || compareText(b.origin, a.origin) || compareText(b.id, a.id)
}

function raise(seen: Map<string, Stamp>, origin: string, stamp: Stamp): void {
  if (stamp > (seen.get(origin) ?? -1)) seen.set(origin, stamp)
}

/** Compares code units: never `localeCompare`, which differs from machine to machine. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
