import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLog } from '../../src/log.ts'
import { watchConflicts } from '../../src/replication/conflicts.ts'
import { temporary } from './fixtures.ts'
import { Flock, tagged } from './flock.ts'

test('a tag pushed on two nodes at once is the same everywhere, and both tell of it', async t => {
  const flock = new Flock(await temporary(t))
  t.after(() => flock.close())
  const [a, b] = [await flock.add('a'), await flock.add('b')]
  const told: string[] = []
  for (const { id, records } of flock.birds) {
    t.after(watchConflicts(records, () => void told.push(id), silentLog))
  }
  await a.records.write([tagged('latest')])
  await b.records.write([{ ...tagged('latest'), digest: tagged('other').digest }])
  assert.deepEqual(told, [])
  await flock.level(a, b)
  assert.deepEqual(told.sort(), ['a', 'b'])
  assert.deepEqual(await a.records.tag('app', 'latest'), await b.records.tag('app', 'latest'))
  await a.records.write([tagged('latest')])
  await flock.level(a, b)
  assert.deepEqual(told, ['a', 'b'], 'settled by the next push')
})
