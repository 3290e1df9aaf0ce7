import assert from 'node:assert/strict'
import { test } from 'node:test'
import { warningsIn } from '../../src/admin/warning-header.ts'

test('a Warning header is told as its sentences', () => {
  assert.deepEqual(warningsIn(undefined), [])
  assert.deepEqual(warningsIn('299 - "stored on 1 of 2 nodes"'), ['stored on 1 of 2 nodes'])
  const two = String.raw`299 - "of \"a\", \\ and b", 299 - "c"`
  assert.deepEqual(warningsIn(two), [String.raw`of "a", \ and b`, 'c'])
})

test('a Warning header of another form is told as it is', () => {
  assert.deepEqual(warningsIn('112 proxy "cut off"'), ['112 proxy "cut off"'])
})
