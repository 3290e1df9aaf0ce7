import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { Expected } from '../../src/replication/expected.ts'

const BLOB = digestOf(Buffer.from('blob'))

test('what a pusher was told to push, though it is here, may be what comes next', () => {
  const expected = new Expected({ monotonic: () => 0 })
  assert.equal(expected.mayBe('app', { writtenBytes: 0 }), false)
  expected.note('app', BLOB, 100)
  assert.equal(expected.mayBe('app', { writtenBytes: 0 }), true)
  assert.equal(expected.mayBe('app', { writtenBytes: 100, declaredBytes: 100 }), true)
  assert.equal(expected.mayBe('other', { writtenBytes: 0 }), false)
})

test('what is longer, or says that it will be of another length, is something else', () => {
  const expected = new Expected({ monotonic: () => 0 })
  expected.note('app', BLOB, 100)
  assert.equal(expected.mayBe('app', { writtenBytes: 101 }), false)
  assert.equal(expected.mayBe('app', { writtenBytes: 1, declaredBytes: 99 }), false)
})

test('after a minute the question counts no more', () => {
  let nowMs = 0
  const expected = new Expected({ monotonic: () => nowMs })
  expected.note('app', BLOB, 100)
  nowMs = 60_000
  assert.equal(expected.mayBe('app', { writtenBytes: 0 }), true)
  nowMs = 60_001
  assert.equal(expected.mayBe('app', { writtenBytes: 0 }), false)
})
