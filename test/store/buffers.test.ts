import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Buffers } from '../../src/store/buffers.ts'

const KIB = 1024
const MIB = 1024 * KIB
const LARGE_TRANSFER_BYTES = 1024 * MIB

test('a transfer alone has large buffers, one of a thousand has the smallest', () => {
  const buffers = new Buffers()
  const taken = Array.from({ length: 1_000 }, () => buffers.take(LARGE_TRANSFER_BYTES))
  assert.deepEqual(
    taken.slice(0, 2).map(({ length }) => length),
    [4 * MIB, 4 * MIB]
  )
  assert.equal(taken.at(-1)?.length, 64 * KIB)
  const bytes = taken.reduce((sum, { length }) => sum + length, 0)
  assert.ok(bytes < 32 * MIB + 1_000 * 64 * KIB, `${bytes} bytes`)
})

test('the next transfer has large buffers again once the others have ended, or were cut off', () => {
  const buffers = new Buffers()
  const taken = Array.from({ length: 1_000 }, () => buffers.take(LARGE_TRANSFER_BYTES))
  for (const [index, buffer] of taken.entries()) {
    if (index % 2 === 0) buffers.giveBack(buffer)
    else buffers.drop(buffer)
  }
  const next = buffers.take(LARGE_TRANSFER_BYTES)
  assert.equal(next.length, 4 * MIB)
  assert.ok(taken.includes(next), 'it is one of those that were given back')
  assert.ok(!taken.includes(buffers.take(600 * KIB)), 'and those are of one size')
})

test('a small transfer has no more than it needs', () => {
  const buffers = new Buffers()
  assert.equal(buffers.take(100).length, 100)
  assert.equal(buffers.take(200 * KIB).length, 128 * KIB)
})
