import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Slots } from '../../src/swarm/slots.ts'

test('places are given in the order in which they were asked for', async t => {
  const slots = new Slots({ count: 1, maxWaiting: 10 })
  const order: string[] = []
  const free = await slots.take(t.signal)
  const waiting = ['first', 'second'].map(async name => {
    const done = await slots.take(t.signal)
    order.push(name)
    done()
  })
  assert.deepEqual(order, [])
  free()
  await Promise.all(waiting)
  assert.deepEqual(order, ['first', 'second'])
})

test('a place freed twice is freed once', async t => {
  const slots = new Slots({ count: 1, maxWaiting: 0 })
  const free = await slots.take(t.signal)
  free()
  free()
  await slots.take(t.signal)
  await assert.rejects(slots.take(t.signal), { code: 'UNAVAILABLE' })
})

test('who is aborted leaves the line, and the next is not held up', async t => {
  const slots = new Slots({ count: 1, maxWaiting: 2 })
  const free = await slots.take(t.signal)
  const impatient = new AbortController()
  const first = slots.take(impatient.signal)
  const second = slots.take(t.signal)
  impatient.abort(new Error('gone'))
  await assert.rejects(first, { message: 'gone' })
  free()
  await second
  await assert.rejects(slots.take(AbortSignal.abort(new Error('late'))), { message: 'late' })
})
