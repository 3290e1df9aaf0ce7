import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Sightings } from '../../src/replication/sightings.ts'
import { named } from './fixtures.ts'

const blob = named('blob')

test('who was heard to hold a blob is remembered until it turns out otherwise', () => {
  const sightings = new Sightings()
  assert.equal(sightings.has('a', blob), false)
  sightings.add('a', blob)
  sightings.add('b', blob)
  sightings.remove('a', blob)
  assert.equal(sightings.has('a', blob), false)
  assert.equal(sightings.has('b', blob), true)
})

test('a peer that left is forgotten for every blob', () => {
  const sightings = new Sightings()
  sightings.add('a', blob)
  sightings.add('a', named('other'))
  sightings.forgetPeer('a')
  assert.equal(sightings.has('a', blob), false)
  assert.equal(sightings.has('a', named('other')), false)
})

test('the oldest are forgotten when there are very many, and what is heard again is not old', () => {
  const sightings = new Sightings()
  sightings.add('a', blob)
  sightings.add('a', named('old'))
  for (let number = 0; number < 19_998; number++) sightings.add('a', named(`${number}`))
  sightings.add('b', blob)
  sightings.add('a', named('one too many'))
  assert.equal(sightings.has('a', named('old')), false)
  assert.equal(sightings.has('a', blob), true)
})
