import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { Records } from '../../src/records/records.ts'
import { Roots } from '../../src/replication/roots.ts'
import { named, temporary } from './fixtures.ts'

test('every root that the records had since the start is known, with how far they were', async t => {
  const records = await Records.open({
    ...{ dataDir: await temporary(t), origin: 'me', clock: systemClock, log: silentLog }
  })
  t.after(() => records.close())
  const roots = new Roots(records)
  t.after(() => roots.close())
  const empty = records.root().hash
  await records.write([{ kind: 'tag', repository: 'a', tag: 'x', digest: named('x') }])
  const one = records.root().hash
  await records.write([{ kind: 'tag', repository: 'a', tag: 'y', digest: named('y') }])
  assert.equal(roots.sequenceOf(empty), 0)
  assert.equal(roots.sequenceOf(one), 1)
  assert.equal(roots.sequenceOf(records.root().hash), 2)
  assert.equal(roots.sequenceOf('of others'), undefined)
})
