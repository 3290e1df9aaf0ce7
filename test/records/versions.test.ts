import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode, encode } from 'cborg'
import { decodeBeat, encodeBeat } from '../../src/mesh/beat.ts'
import { answer } from '../../src/records/answer.ts'
import { peerStore } from '../../src/records/peer-store.ts'
import { reconcile } from '../../src/records/reconcile.ts'
import { encodeRecord } from '../../src/records/record.ts'
import type { Stamp } from '../../src/records/stamp.ts'
import { VITALS } from '../mesh/helpers/flock.ts'
import { openRecords, tagWrite } from './fixtures.ts'
import { MemoryStore, wireTo } from './sets.ts'

const unaborted = new AbortController().signal

/** What a version ahead of this one may write: another kind, and another version with more fields. */
function laterRecords(): Uint8Array[] {
  const fields = { origin: 'node-z', stamp: 7 as Stamp, seen: new Map(), body: new Map([['n', 1]]) }
  const kind = encodeRecord({ ...fields, kind: 'weather', key: 'today' })
  const later = Buffer.from(encodeRecord({ ...fields, kind: 'tag', key: 'app later' }).bytes)
  later[1] = 2
  return [kind.bytes, later]
}

test('what only a later version understands goes through this one in both directions', async t => {
  const middle = await openRecords(t, { origin: 'middle' })
  const ahead = new MemoryStore()
  const fromAhead = laterRecords()
  assert.equal((await ahead.apply(fromAhead)).applied.length, 2)
  await middle.write([tagWrite('app', 'v1')])
  await reconcile(peerStore(middle, 'ahead'), wireTo(ahead).ask, unaborted)
  assert.equal(middle.unreadable(), 2)
  const third = new MemoryStore()
  await reconcile(third, wireTo(peerStore(middle, 'third')).ask, unaborted)
  assert.deepEqual(third.root(), ahead.root())
  for (const bytes of fromAhead) {
    const found = await third.get(await third.idsIn(''))
    assert.ok(
      found.some(each => Buffer.compare(each, bytes) === 0),
      'byte for byte'
    )
  }
})

test('a request that only a later version knows is refused, and the next one answered', async t => {
  const records = await openRecords(t)
  const store = peerStore(records, 'ahead')
  await assert.rejects(answer(store, encode(['sketch', 1])), { code: 'PEER_FAILED' })
  const { hash, count } = records.root()
  const reply = decode(await answer(store, encode(['compare', count, Buffer.from(hash, 'hex')])))
  assert.equal(reply[0], 'equal')
})

test('a heartbeat of a version behind says nothing of promises, which counts as none', () => {
  const beat = { ...VITALS, id: 'a', boot: 'b', bootedAt: 1, sequence: 1 }
  const fields: Record<string, unknown> = decode(encodeBeat(beat))
  for (const added of ['position', 'promised', 'confirmed']) delete fields[added]
  const behind = decodeBeat(encode({ ...fields, more: 'from a version ahead' }))
  assert.deepEqual([behind.position, behind.promised, behind.confirmed], [0, 0, 0])
})
