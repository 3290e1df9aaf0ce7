import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Candidates, type Claim, type NodeFacts, obstacles } from '../../src/replication/collect.ts'
import { named } from './fixtures.ts'

const BLOBS = ['a', 'b', 'c'].map(named)
const GRACE_MS = 100

const CALM: NodeFacts = {
  nowMs: 1_000,
  quietUntilMs: 0,
  ready: true,
  unreadableRecords: 0,
  unreadManifests: 0,
  others: 2,
  liveOthers: 2,
  levelOthers: 2
}

const claim: fc.Arbitrary<Claim> = fc.oneof(
  fc.constant({ kind: 'linked' } as const),
  fc.record({
    kind: fc.constant('leased' as const),
    leftMs: fc.option(fc.nat(), { nil: undefined })
  }),
  fc.constant({ kind: 'used' } as const),
  fc.constant({ kind: 'none' } as const)
)

/** Looks at one blob after some time, or somebody calls for it between two looks. */
const step = fc.record({
  blob: fc.constantFrom(...BLOBS),
  elapsedMs: fc.nat(2 * GRACE_MS),
  event: fc.oneof({ weight: 4, arbitrary: claim }, { weight: 1, arbitrary: fc.constant('called') })
})

test('what is called for, or was within the grace, is never swept, whatever happens', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), steps => {
      const candidates = new Candidates()
      /** When each blob was last looked at and found without a claim, without a break since. */
      const unwantedSince = new Map<string, number>()
      let nowMs = 0
      for (const { blob, elapsedMs, event } of steps) {
        nowMs += elapsedMs
        if (typeof event === 'string') {
          candidates.forget(blob)
          unwantedSince.delete(blob)
          continue
        }
        const { kind, reason } = candidates.look(blob, event, { nowMs, graceMs: GRACE_MS })
        assert.notEqual(reason, '')
        if (event.kind === 'none') unwantedSince.set(blob, unwantedSince.get(blob) ?? nowMs)
        else unwantedSince.delete(blob)
        const sinceMs = unwantedSince.get(blob)
        const expected =
          sinceMs === undefined ? 'keep' : nowMs - sinceMs >= GRACE_MS ? 'sweep' : 'wait'
        assert.equal(kind, expected)
      }
    })
  )
})

test('whatever nobody calls for any more goes in the end', () => {
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 60 }),
      fc.integer({ min: 1, max: 60 }),
      (steps, tickMs) => {
        const candidates = new Candidates()
        let nowMs = 0
        for (const { blob, elapsedMs, event } of steps) {
          nowMs += elapsedMs
          if (typeof event !== 'string') candidates.look(blob, event, { nowMs, graceMs: GRACE_MS })
        }
        const left = new Set(BLOBS)
        for (let looks = 0; left.size > 0; looks++) {
          assert.ok(looks * tickMs <= GRACE_MS + tickMs)
          for (const blob of left) {
            const facts = { nowMs, graceMs: GRACE_MS }
            if (candidates.look(blob, { kind: 'none' }, facts).kind === 'sweep') {
              candidates.forget(blob)
              left.delete(blob)
            }
          }
          nowMs += tickMs
        }
        assert.equal(candidates.size, 0)
      }
    )
  )
})

test('a node among level members sweeps, also alone, and with one of three dead', () => {
  assert.deepEqual(obstacles(CALM), [])
  assert.deepEqual(obstacles({ ...CALM, others: 0, liveOthers: 0, levelOthers: 0 }), [])
  assert.deepEqual(obstacles({ ...CALM, liveOthers: 1, levelOthers: 1 }), [])
  assert.deepEqual(obstacles({ ...CALM, others: 20, liveOthers: 20, levelOthers: 2 }), [])
})

test('each thing in the way is told in words', () => {
  const only = (changed: Partial<NodeFacts>, words: RegExp) => {
    const found = obstacles({ ...CALM, ...changed })
    assert.equal(found.length, 1, found.join('; '))
    assert.match(found[0] ?? '', words)
  }
  only({ ready: false }, /not ready/)
  only({ unreadableRecords: 1 }, /later version/)
  only({ unreadManifests: 3 }, /3 manifests are yet to come/)
  only({ levelOthers: 1 }, /level with 1 members, 2 are needed/)
  only({ quietUntilMs: 61_000 }, /after a start: 60 s left/)
  only({ liveOthers: 0, levelOthers: 0 }, /only 1 of 3 members are heard/)
  // Half of them may be on the other side of a partition, and so may we.
  only({ others: 1, liveOthers: 0, levelOthers: 0 }, /only 1 of 2 members are heard/)
})
