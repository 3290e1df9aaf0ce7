import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../src/digest.ts'
import {
  explainReadiness,
  type Readiness,
  type ReadinessFacts,
  startReadiness,
  stepReadiness
} from '../../src/replication/readiness.ts'
import { named } from './fixtures.ts'

const READY: Readiness = { kind: 'ready' }
const [A, B, C] = [named('a'), named('b'), named('c')] as const

function facts(some: Partial<ReadinessFacts> = {}): ReadinessFacts {
  return {
    nowMs: 100_000,
    gapMs: 200,
    nothingToJoin: false,
    discoveredAlone: false,
    live: [],
    away: 0,
    refusedBy: [],
    isolatedSinceMs: undefined,
    failure: undefined,
    missing: new Map(),
    unavailable: () => false,
    missingBelow: () => [],
    deadAfterMs: 6_000,
    aloneAfterMs: 60_000,
    ...some
  }
}

function missing(...digests: readonly Digest[]): ReadonlyMap<Digest, unknown> {
  return new Map(digests.map(digest => [digest, {}]))
}

test('a node with nothing to join is ready at once', () => {
  assert.deepEqual(stepReadiness(startReadiness(100_000), facts({ nothingToJoin: true })), READY)
})

test('a node that discovery told to be alone is ready at once', () => {
  assert.deepEqual(stepReadiness(startReadiness(100_000), facts({ discoveredAlone: true })), READY)
})

test('a node that reaches nobody is ready only after alone-after, and says how long that takes', () => {
  const state = startReadiness(100_000)
  const early = facts({ nowMs: 159_000 })
  assert.deepEqual(stepReadiness(state, early), state)
  assert.match(explainReadiness(state, early), /alone after 1 s more/)
  assert.deepEqual(stepReadiness(state, facts({ nowMs: 160_000 })), READY)
})

test('the reason tells nobody reached from nobody left, and names who refuses this node', () => {
  const state = startReadiness(100_000)
  const reason = (some: Partial<ReadinessFacts>) => explainReadiness(state, facts(some))
  assert.equal(
    reason({ away: 2 }),
    'all other nodes are away; pushes are taken alone after 60 s more'
  )
  const refusedBy = [1, 2, 3, 4, 5].map(port => ({ address: `10.0.0.1:${port}`, reason: 'so' }))
  assert.equal(
    reason({ refusedBy: refusedBy.slice(0, 1) }),
    'no other node has been reached; 10.0.0.1:1 refuses this node: so; pushes are taken alone after 60 s more'
  )
  assert.match(reason({ refusedBy }), /10\.0\.0\.1:3 refuses this node: so; 2 more refuse it; /)
})

test('the records have to be level with every live member, since the node began to seek', () => {
  const state = startReadiness(90_000)
  for (const levelAtMs of [undefined, 89_999]) {
    const live = [
      { id: 'a', levelAtMs: 95_000, stalledMs: 0 },
      { id: 'b', levelAtMs, stalledMs: 0 }
    ]
    // Being alone for long does not count while somebody is live.
    const behind = facts({ live, aloneAfterMs: 0 })
    assert.deepEqual(stepReadiness(state, behind), state)
    assert.match(explainReadiness(state, behind), /level with 1 of 2 live members/)
  }
  const live = [{ id: 'a', levelAtMs: 90_000, stalledMs: 0 }]
  assert.deepEqual(stepReadiness(state, facts({ live })), READY)
})

test('what was called for when the records were level has to be held; later pushes do not count', () => {
  const live = [{ id: 'a', levelAtMs: 99_000, stalledMs: 0 }]
  const filling = stepReadiness(startReadiness(90_000), facts({ live, missing: missing(A, B) }))
  assert.deepEqual(filling, { kind: 'filling', goal: new Set([A, B]) })
  assert.match(explainReadiness(filling, facts()), /waiting for 2 of the blobs/)
  const later = stepReadiness(filling, facts({ live, missing: missing(B, C) }))
  assert.deepEqual(later, { kind: 'filling', goal: new Set([B]) })
  assert.deepEqual(stepReadiness(later, facts({ live, missing: missing(C) })), READY)
})

test('what a manifest of the goal turns out to name belongs to the goal', () => {
  const filling: Readiness = { kind: 'filling', goal: new Set([A]) }
  const arrived = facts({
    missing: missing(B),
    missingBelow: digest => (digest === A ? [B] : [])
  })
  assert.deepEqual(stepReadiness(filling, arrived), { kind: 'filling', goal: new Set([B]) })
})

test('what no live member can give is not waited for', () => {
  const filling: Readiness = { kind: 'filling', goal: new Set([A, B]) }
  const stuck = facts({ missing: missing(A, B), unavailable: digest => digest === A })
  assert.deepEqual(stepReadiness(filling, stuck), { kind: 'filling', goal: new Set([B]) })
})

test('a ready node stays ready whatever is pushed', () => {
  const live = [{ id: 'a', levelAtMs: undefined, stalledMs: 0 }]
  assert.deepEqual(stepReadiness(READY, facts({ live, missing: missing(A, B) })), READY)
})

test('a pause longer than dead-after has every member asked again', () => {
  assert.deepEqual(stepReadiness(READY, facts({ gapMs: 6_000 })), READY)
  const seeking = stepReadiness(READY, facts({ gapMs: 6_001 }))
  assert.deepEqual(seeking, { kind: 'seeking', sinceMs: 100_000 })
  const live = [{ id: 'a', levelAtMs: 99_999, stalledMs: 0 }]
  assert.deepEqual(stepReadiness(seeking, facts({ live })), seeking)
})

test('a node that slept alone has not been waiting for anybody: alone-after begins anew', () => {
  const isolatedSinceMs = 10_000
  const asleep = { gapMs: 60_000, nowMs: 100_000, isolatedSinceMs }
  for (const state of [READY, startReadiness(10_000)]) {
    const awake = stepReadiness(state, facts(asleep))
    assert.deepEqual(awake, startReadiness(100_000))
    assert.deepEqual(stepReadiness(awake, facts({ nowMs: 159_999, isolatedSinceMs })), awake)
  }
})

test('a node that can write no records says so, and has every member asked again once it can', () => {
  const failing = facts({ failure: 'the index of records failed', nothingToJoin: true })
  const seeking = stepReadiness(READY, failing)
  assert.deepEqual(seeking, startReadiness(100_000))
  assert.equal(explainReadiness(seeking, failing), 'the index of records failed')
  assert.deepEqual(stepReadiness(seeking, { ...failing, failure: undefined }), READY)
  const live = [{ id: 'a', levelAtMs: 99_999, stalledMs: 0 }]
  assert.deepEqual(stepReadiness(seeking, facts({ live })), seeking)
})

test('isolation longer than dead-after unsets readiness, and alone-after sets it again', () => {
  const at = (ms: number) => facts({ nowMs: ms, isolatedSinceMs: 100_000 })
  assert.deepEqual(stepReadiness(READY, at(106_000)), READY)
  const isolated = stepReadiness(READY, at(106_001))
  assert.deepEqual(isolated, { kind: 'seeking', sinceMs: 100_000 })
  assert.deepEqual(stepReadiness(isolated, at(159_999)), isolated)
  assert.deepEqual(stepReadiness(isolated, at(160_000)), READY)
  assert.deepEqual(stepReadiness(READY, at(400_000)), READY)
})

test('a member that beats and never exchanges records does not keep a node from being ready for ever', () => {
  const since = startReadiness(100_000)
  const at = (nowMs: number, stalledMs: number) =>
    stepReadiness(since, facts({ nowMs, live: [{ id: 'a', levelAtMs: undefined, stalledMs }] }))
  assert.equal(at(159_000, 59_000).kind, 'seeking')
  assert.equal(at(160_000, 60_000).kind, 'ready')
  assert.equal(at(400_000, 2_000).kind, 'seeking', 'records still come')
  assert.equal(at(101_000, 86_400_000).kind, 'seeking', 'a member that had nothing to say all day')
})
