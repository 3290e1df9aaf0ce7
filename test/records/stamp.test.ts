import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  HybridClock,
  MAX_STAMP,
  type Stamp,
  stampMs,
  TICKS_PER_MS
} from '../../src/records/stamp.ts'

const NOON_MS = 1_800_000_000_000

function clockAt(start: number) {
  const clock = { ms: start, now: () => clock.ms, monotonic: () => clock.ms }
  return clock
}

test('stamps follow the wall clock, and count within a millisecond', () => {
  const clock = clockAt(NOON_MS)
  const hybrid = new HybridClock({ clock })
  const [first, second] = [hybrid.issue(), hybrid.issue()]
  assert.equal(stampMs(first), NOON_MS)
  assert.equal(second, first + 1)
  clock.ms += 7
  assert.equal(stampMs(hybrid.issue()), NOON_MS + 7)
})

test('stamps grow whatever the wall clock does, and exceed what is replaced and observed', () => {
  const step = fc.record({
    ms: fc.oneof(fc.integer({ min: -5, max: 2 ** 41 }), fc.constant(Number.NaN)),
    replaced: fc.integer({ min: 0, max: 2 ** 50 }),
    observed: fc.integer({ min: 0, max: 2 ** 50 })
  })
  fc.assert(
    fc.property(fc.array(step), steps => {
      const clock = clockAt(0)
      const hybrid = new HybridClock({ clock })
      let floor = hybrid.floor
      for (const { ms, replaced, observed } of steps) {
        clock.ms = ms
        hybrid.observe(observed as Stamp, 'peer')
        const before = hybrid.floor
        const stamp = hybrid.issue(replaced as Stamp)
        assert.ok(before >= floor && hybrid.floor > before)
        assert.ok(stamp > before && stamp > replaced && stamp <= MAX_STAMP)
        floor = hybrid.floor
      }
    })
  )
})

test('a stamp from far in the future is reported and does not move the clock', () => {
  const drifts: unknown[] = []
  const clock = clockAt(NOON_MS)
  const onDrift = (aheadMs: number, origin: string) => drifts.push([aheadMs, origin])
  const hybrid = new HybridClock({ clock, onDrift })
  hybrid.observe(((NOON_MS + 299_000) * TICKS_PER_MS) as Stamp, 'nearly right')
  assert.equal(stampMs(hybrid.issue()), NOON_MS + 299_000)
  hybrid.observe(((NOON_MS + 600_000) * TICKS_PER_MS) as Stamp, 'wrong')
  assert.deepEqual(drifts, [[600_000, 'wrong']])
  assert.equal(stampMs(hybrid.issue()), NOON_MS + 299_000)
})

test('replacing a record from the future gives a stamp above it, and the next is of our time', () => {
  const clock = clockAt(NOON_MS)
  const hybrid = new HybridClock({ clock })
  const future = ((NOON_MS + 10 * 365 * 86_400_000) * TICKS_PER_MS) as Stamp
  assert.equal(hybrid.issue(future), future + 1)
  assert.equal(stampMs(hybrid.issue()), NOON_MS)
})

test('a restart issues nothing at or below the floor that was kept', () => {
  const hybrid = new HybridClock({ clock: clockAt(0), floor: 12_345_678 as Stamp })
  assert.equal(hybrid.issue(), 12_345_679)
})

test('above the last stamp there is none', () => {
  const hybrid = new HybridClock({ clock: clockAt(NOON_MS) })
  assert.throws(() => hybrid.issue(MAX_STAMP), { code: 'RECORD_INVALID' })
})
