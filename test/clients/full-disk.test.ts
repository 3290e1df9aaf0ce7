import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fullDisk, isClean } from './full-disk.ts'

test('a disk that gets full at any step of a push: a clean error, reads go on, the next push works', async t => {
  const cases = await fullDisk()
  for (const { step, status, code = '' } of cases) t.diagnostic(`${step}: ${status} ${code}`)
  assert.deepEqual(
    cases.filter(one => !isClean(one)),
    []
  )
})
