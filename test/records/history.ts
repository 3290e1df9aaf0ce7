import fc from 'fast-check'
import { contextOf, greatestStamp, type Heads, mergeInto } from '../../src/records/merge.ts'
import { encodeRecord, type StampedRecord } from '../../src/records/record.ts'
import { HybridClock } from '../../src/records/stamp.ts'

type Step =
  | {
      readonly kind: 'write'
      readonly node: number
      readonly deleted: boolean
      readonly ms: number
    }
  | { readonly kind: 'deliver'; readonly from: number; readonly to: number }

export const NODES = 4

/** Steps of nodes that write one register with unequal clocks, and now and then hear of each other. */
export const histories: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant('write' as const),
      node: fc.nat(NODES - 1),
      deleted: fc.boolean(),
      ms: fc.integer({ min: 0, max: 3 })
    }),
    fc.record({
      kind: fc.constant('deliver' as const),
      from: fc.nat(NODES - 1),
      to: fc.nat(NODES - 1)
    })
  ),
  { maxLength: 40 }
)

/** Every record that nodes following the steps would write, in the order of writing. */
export function recordsOf(history: readonly Step[]): StampedRecord[] {
  const clock = { now: () => nowMs, monotonic: () => nowMs }
  let nowMs = 0
  const nodes = Array.from({ length: NODES }, (_, node) => ({
    origin: `node-${node}`,
    clock: new HybridClock({ clock }),
    heads: [] as Heads
  }))
  const written: StampedRecord[] = []
  for (const step of history) {
    const node = nodes[step.kind === 'write' ? step.node : step.to]
    const from = step.kind === 'deliver' ? (nodes[step.from]?.heads ?? []) : []
    if (node === undefined) continue
    for (const record of from) node.heads = mergeInto(node.heads, record).heads
    if (step.kind === 'deliver') continue
    nowMs = step.ms
    const record = encodeRecord({
      kind: 'tag',
      key: 'library/nginx latest',
      origin: node.origin,
      stamp: node.clock.issue(greatestStamp(node.heads)),
      seen: contextOf(node.heads),
      body: new Map<string, unknown>(step.deleted ? [['deleted', true]] : [['n', written.length]])
    })
    node.heads = mergeInto(node.heads, record).heads
    written.push(record)
  }
  return written
}

export function mergeAll(records: Iterable<StampedRecord>, start: Heads = []): Heads {
  let heads = start
  for (const record of records) heads = mergeInto(heads, record).heads
  return heads
}

export function idsIn(heads: Heads): string[] {
  return heads.map(head => head.id)
}
