import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeRecord } from '../../src/records/record.ts'
import { MAX_STAMP, type Stamp } from '../../src/records/stamp.ts'
import { changeOf } from '../../src/records/values.ts'
import { openRecords, tagWrite } from './fixtures.ts'

test('a horizon that no node can have confirmed takes nobody the stamps to write with', async t => {
  const records = await openRecords(t)
  const { kind, key } = changeOf({ kind: 'horizon', at: 1 as Stamp })
  const fields = { kind, key, origin: 'node-b', stamp: 1_000 as Stamp, seen: new Map() }
  const { bytes } = encodeRecord({ ...fields, body: new Map([['at', MAX_STAMP]]) })
  assert.equal((await records.apply([bytes])).applied.length, 1)
  await records.write([tagWrite('app', 'v1')])
  assert.deepEqual(await records.tags('app', { limit: 10 }), ['v1'])
})
