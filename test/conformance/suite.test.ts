import assert from 'node:assert/strict'
import { test } from 'node:test'
import { judge } from './suite.ts'

test('all that is not a pass is named, whatever it is called', () => {
  const results = `
apis: { Ping: Pass, Referrers: FAIL, Tag delete: Skip }
data: { Image: Pass, Index: Error, Sparse Manifests: Disabled }
`
  const { outcomes, short } = judge(results, 7)
  assert.deepEqual(outcomes, { Pass: 2, FAIL: 1, Skip: 1, Error: 1, Disabled: 1 })
  assert.deepEqual(short, [
    'Referrers: FAIL',
    'Tag delete: Skip',
    'Index: Error',
    'Sparse Manifests: Disabled'
  ])
})

test('results that say nothing are no pass', () => {
  assert.throws(() => judge('config: {}', 0), /no results/)
})
