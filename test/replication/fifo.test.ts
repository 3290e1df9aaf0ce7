import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Fifo } from '../../src/replication/fifo.ts'

test('a line gives its items in order, each once while it waits', () => {
  const line = new Fifo<number>()
  for (const item of [1, 2, 1, 3]) line.push(item)
  assert.equal(line.shift(), 1)
  line.push(1)
  assert.deepEqual([line.shift(), line.shift(), line.shift(), line.shift()], [2, 3, 1, undefined])
})

test('a long line keeps its order while it is taken from and added to', () => {
  const line = new Fifo<number>()
  for (let item = 0; item < 10_000; item++) line.push(item)
  for (let item = 0; item < 10_000; item++) {
    assert.equal(line.shift(), item)
    line.push(item + 10_000)
  }
  assert.equal(line.shift(), 10_000)
})
