import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { openRecords, tagWrite } from './fixtures.ts'

test('a tag that was moved meanwhile is not taken away with the manifest it pointed at', async t => {
  const records = await openRecords(t)
  const moved = { ...tagWrite('app', 'v1'), digest: digestOf(Buffer.from('next')) }
  const before = tagWrite('app', 'v1').digest
  await records.write([tagWrite('app', 'v1')])
  await records.write([moved])
  const untag = { kind: 'untag', repository: 'app', tag: 'v1' } as const
  assert.deepEqual(await records.write([{ ...untag, pointingAt: before }]), [])
  assert.deepEqual(await records.tag('app', 'v1'), moved)
  await records.write([{ ...untag, pointingAt: moved.digest }])
  assert.equal(await records.tag('app', 'v1'), undefined)
})
