import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cache } from '../src/cache.ts'

const ofLengths = (maxWeight: number) => new Cache<string, string>(maxWeight, text => text.length)

test('a cache keeps what was used last within its weight', () => {
  const cache = ofLengths(32)
  for (let index = 0; index < 16; index++) cache.set(`key ${index}`, 'ab')
  cache.get('key 0')
  cache.set('one more', 'ab')
  assert.equal(cache.get('key 0'), 'ab')
  assert.equal(cache.get('key 1'), undefined)
  assert.equal(cache.get('one more'), 'ab')
})

test('a value that replaces another takes over its place and not more', () => {
  const cache = ofLengths(32)
  for (let index = 0; index < 100; index++) cache.set('same', 'ab')
  for (let index = 0; index < 15; index++) cache.set(`key ${index}`, 'ab')
  assert.equal(cache.get('same'), 'ab')
  assert.equal(cache.get('key 0'), 'ab')
})

test('a value too heavy to be kept takes the old one of its key with it', () => {
  const cache = ofLengths(32)
  cache.set('key', 'ab')
  cache.set('key', 'abc')
  assert.equal(cache.get('key'), undefined)
})

test('what was deleted is gone, and its weight with it', () => {
  const cache = ofLengths(32)
  for (let index = 0; index < 100; index++) {
    cache.set(`key ${index}`, 'ab')
    cache.delete(`key ${index}`)
  }
  cache.set('kept', 'ab')
  assert.equal(cache.get('key 99'), undefined)
  assert.equal(cache.get('kept'), 'ab')
})
