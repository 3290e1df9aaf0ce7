import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { withDeadline } from '../src/deadline.ts'

test('a deadline that passes while nobody listens is known to have passed', async () => {
  const signal = withDeadline(1, new AbortController().signal)
  await delay(20)
  collectGarbage()
  // What a weak reference points to lives at least until the turn ends in which it was looked at.
  await delay(1)
  collectGarbage()
  assert.equal(signal.aborted, true)
  assert.equal(signal.reason.name, 'TimeoutError')
})

test('a signal that comes before the deadline counts', () => {
  const stop = new AbortController()
  const signal = withDeadline(60_000, stop.signal)
  assert.equal(signal.aborted, false)
  stop.abort('enough')
  assert.equal(signal.reason, 'enough')
})

function collectGarbage(): void {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
}
