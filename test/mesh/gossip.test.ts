import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { MAX_PAYLOAD_BYTES } from '../../src/mesh/gossip.ts'
import { allLive, Flock, until } from './helpers/flock.ts'

test('payloads published together arrive once each, the longest too, with their origin', async context => {
  const flock = new Flock(context)
  const a = await flock.add('a')
  const b = await flock.add('b', { join: [a.address] })
  await until(() => allLive([a, b]))
  const heard: string[] = []
  b.onGossip((peer, payload) => {
    assert.equal(peer, a.id)
    heard.push(`${payload[0]} ${payload.length}`)
  })
  await until(() => {
    a.publish(Buffer.of(255))
    return heard.length > 0
  })
  heard.length = 0
  const sent = Array.from({ length: 200 }, (_, index) => Buffer.alloc(10 + index, index))
  sent.push(Buffer.alloc(MAX_PAYLOAD_BYTES, 201))
  for (const payload of sent) a.publish(payload)
  const wanted = sent.map(payload => `${payload[0]} ${payload.length}`)
  await until(() => heard.filter(line => wanted.includes(line)).length === wanted.length)
  assert.deepEqual(heard.filter(line => wanted.includes(line)).sort(), [...wanted].sort())
})

test('a payload that is too long is refused where it is published', async context => {
  const flock = new Flock(context)
  const a = await flock.add('a')
  assert.throws(
    () => a.publish(Buffer.alloc(MAX_PAYLOAD_BYTES + 1)),
    error => isCode(error, 'SIZE_INVALID')
  )
  a.publish(Buffer.alloc(MAX_PAYLOAD_BYTES))
})
