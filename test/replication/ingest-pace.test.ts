import assert from 'node:assert/strict'
import { mock, type TestContext, test } from 'node:test'
import { IngestPace } from '../../src/replication/ingest-pace.ts'
import { HandClock } from './fixtures.ts'

const MiB = 1024 * 1024

test('a push goes on while the receiver that is needed keeps up', t => {
  const push = newPush(t, 2)
  push.receivers.set('quick', 0).set('slow', 0)
  for (let second = 0; second < 60; second++) {
    push.receivers.set('quick', push.offset)
    push.takes(10 * MiB, 1_000)
    assert.equal(push.isHeld, false)
  }
})

test('a push waits for a receiver that needs more than four seconds, until it needs less', async t => {
  const push = newPush(t, 2)
  push.receivers.set('a', 0)
  for (let second = 1; second < 8; second++) {
    push.takes(10 * MiB, 1_000)
    push.receivers.set('a', second * 5 * MiB)
  }
  assert.equal(push.isHeld, true)
  const wait = push.wait()
  push.receivers.set('a', push.offset - 15 * MiB)
  mock.timers.tick(50)
  await wait
  assert.equal(push.isHeld, false)
})

test('a receiver that stands still for four seconds does not count any more', t => {
  const push = newPush(t, 2)
  push.receivers.set('stuck', MiB)
  for (let second = 0; second < 2; second++) push.takes(10 * MiB, 1_000)
  assert.equal(push.isHeld, true)
  push.takes(0, 4_000)
  assert.equal(push.isHeld, false)
})

test('as many must keep up as there are to be copies', t => {
  const push = newPush(t, 3)
  push.receivers.set('quick', 0).set('slow', 0)
  for (let second = 1; second < 8; second++) {
    push.takes(10 * MiB, 1_000)
    push.receivers.set('quick', push.offset).set('slow', second * MiB)
  }
  assert.equal(push.isHeld, true)
  push.copies = 2
  assert.equal(push.isHeld, false)
})

test('a push that is not passed on, or to nobody, is not held back', t => {
  const push = newPush(t, 2)
  push.takes(100 * MiB, 60_000)
  assert.equal(push.isHeld, false)
  push.isPassedOn = false
  assert.equal(push.isHeld, false)
})

/** A push whose course the test tells. */
function newPush(context: TestContext, copies: number) {
  mock.timers.enable({ apis: ['setTimeout'] })
  context.after(() => mock.timers.reset())
  const clock = new HandClock()
  const receivers = new Map<string, number>()
  const upload = { id: 'push', repository: 'app', owner: '', offset: 0 }
  const push = {
    receivers,
    copies,
    isPassedOn: true,
    get offset() {
      return upload.offset
    },
    get isHeld() {
      return push.wait() !== undefined
    },
    wait: () => pace.pace(upload),
    takes(bytes: number, ms: number) {
      upload.offset += bytes
      clock.ms += ms
      push.wait()
    }
  }
  const pace = new IngestPace({
    taken: () => (push.isPassedOn ? receivers : undefined),
    wantedCopies: () => push.copies,
    clock
  })
  context.after(() => pace.close())
  return push
}
