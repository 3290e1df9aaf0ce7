import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  contextOf,
  covers,
  type Heads,
  liveHeads,
  MAX_HEADS,
  MAX_SEEN_ORIGINS,
  mergeInto
} from '../../src/records/merge.ts'
import { EVERYONE, encodeRecord, type StampedRecord } from '../../src/records/record.ts'
import type { Stamp } from '../../src/records/stamp.ts'
import { histories, idsIn, mergeAll, recordsOf } from './history.ts'

test('any order of delivery ends with the same heads: the records that no other covers', () => {
  const shuffled = histories.chain(history => {
    const written = recordsOf(history)
    return fc.tuple(
      fc.constant(written),
      fc.shuffledSubarray(written, { minLength: written.length })
    )
  })
  fc.assert(
    fc.property(shuffled, ([written, delivered]) => {
      const uncovered = written.filter(record => !written.some(other => covers(other, record)))
      const heads = mergeAll(delivered)
      assert.deepEqual(new Set(idsIn(heads)), new Set(idsIn(uncovered)))
      assert.deepEqual(idsIn(heads), idsIn(mergeAll(written)))
    })
  )
})

test('merging is associative, commutative and idempotent between nodes that exchange heads', () => {
  const parts = histories.chain(history => {
    const part = fc.subarray(recordsOf(history))
    return fc.tuple(part, part, part)
  })
  fc.assert(
    fc.property(parts, parts => {
      const [a, b, c] = parts.map(part => mergeAll(part)) as [Heads, Heads, Heads]
      assert.deepEqual(idsIn(mergeAll(mergeAll(c, b), a)), idsIn(mergeAll(c, mergeAll(b, a))))
      assert.deepEqual(idsIn(mergeAll(a, b)), idsIn(mergeAll(b, a)))
      assert.deepEqual(idsIn(mergeAll(a, a)), idsIn(a))
    })
  )
})

test('contexts are transitive: a successor covers all that its predecessors covered', () => {
  fc.assert(
    fc.property(histories, history => {
      const written = recordsOf(history)
      for (const last of written) {
        for (const middle of written.filter(record => covers(last, record))) {
          for (const first of written.filter(record => covers(middle, record))) {
            assert.ok(covers(last, first))
          }
        }
      }
    })
  )
})

test('records with forged contexts still end the same on nodes that exchange their heads', () => {
  const forged = fc.record({
    node: fc.nat(3),
    stamp: fc.integer({ min: 10, max: 40 }),
    seen: fc.array(fc.tuple(fc.nat(3), fc.nat(9)), { maxLength: 3 }),
    lag: fc.integer({ min: 1, max: 20 })
  })
  fc.assert(
    fc.property(
      fc.array(forged, { maxLength: 12 }),
      fc.infiniteStream(fc.boolean()),
      (all, coin) => {
        let [left, right]: [Heads, Heads] = [[], []]
        for (const { node, stamp, seen, lag } of all) {
          const record = recordBy(
            `n${node}`,
            stamp,
            seen.map(([origin, upTo]) => [`n${origin}`, Math.max(0, stamp - lag - upTo)])
          )
          if (coin.next().value) left = mergeInto(left, record).heads
          else right = mergeInto(right, record).heads
        }
        for (let round = 0; round <= all.length; round++) {
          const before = left
          left = mergeAll(right, left)
          right = mergeAll(before, right)
        }
        assert.deepEqual(idsIn(left), idsIn(right))
      }
    )
  )
})

test('a delete removes what its writer had seen, and a write that it had not seen survives it', () => {
  const seenWrite = recordBy('a', 10)
  const unseenWrite = recordBy('b', 5)
  const deletion = encodeRecord({
    ...base,
    origin: 'c',
    stamp: 20 as Stamp,
    seen: contextOf([seenWrite]),
    body: new Map([['deleted', true]])
  })
  const heads = mergeAll([deletion, unseenWrite, seenWrite])
  assert.deepEqual(idsIn(liveHeads(heads)), [unseenWrite.id])
})

test('a register that very many nodes wrote keeps a bounded context that still covers all', () => {
  let heads: Heads = []
  const written: StampedRecord[] = []
  for (let node = 0; node < 3 * MAX_SEEN_ORIGINS; node++) {
    const seen = contextOf(heads)
    assert.ok(seen.size <= MAX_SEEN_ORIGINS + 1)
    const record = encodeRecord({
      ...base,
      origin: `node-${node}`,
      stamp: (node + 1) as Stamp,
      seen
    })
    heads = mergeInto(heads, record).heads
    written.push(record)
  }
  assert.equal(heads.length, 1)
  assert.ok(heads[0]?.seen.has(EVERYONE))
  for (const record of written) assert.equal(mergeInto(heads, record).added, false)
})

test('a flood of origins that ignore each other leaves a bounded number of heads, the greatest', () => {
  const flood = Array.from({ length: MAX_HEADS + 50 }, (_, i) => recordBy(`o${i}`, i + 1))
  const heads = mergeAll(flood)
  assert.equal(heads.length, MAX_HEADS)
  assert.deepEqual(idsIn(heads), idsIn(mergeAll(flood.toReversed())))
  assert.equal(heads[0]?.stamp, MAX_HEADS + 50)
})

const base = { kind: 'tag', key: 'library/nginx latest', body: new Map() }

function recordBy(origin: string, stamp: number, seen: [string, number][] = []): StampedRecord {
  const context = new Map(seen.map(([node, upTo]) => [node, upTo as Stamp]))
  return encodeRecord({ ...base, origin, stamp: stamp as Stamp, seen: context })
}
