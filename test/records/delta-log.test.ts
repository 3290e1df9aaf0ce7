import assert from 'node:assert/strict'
import { test } from 'node:test'
import { DeltaLog } from '../../src/records/delta-log.ts'
import { NO_TERMS } from '../../src/records/horizon.ts'
import { peerStore } from '../../src/records/peer-store.ts'
import { reconcile } from '../../src/records/reconcile.ts'
import type { Applied } from '../../src/records/records.ts'
import { openRecords, tagWrite } from './fixtures.ts'
import { MemoryStore, numbered, wireTo } from './sets.ts'

function applied(from: number, to: number): Applied[] {
  return Array.from({ length: to - from + 1 }, (_, i) => ({
    ...{ bytes: Buffer.alloc(0), kind: 'tag', key: 'k', local: true, conflict: false },
    ...{ value: undefined, before: undefined, sequence: from + i },
    id: String(from + i).padStart(64, '0')
  }))
}

function numbersIn(found: { readonly ids: readonly Uint8Array[] } | undefined): number[] {
  return (found?.ids ?? []).map(id => Number(Buffer.from(id).toString('hex')))
}

test('what was applied after a position is found, in order and in parts', () => {
  const log = new DeltaLog()
  assert.deepEqual(log.since(0, 10), { ids: [], upTo: 0 })
  log.add(applied(1, 5))
  assert.deepEqual(numbersIn(log.since(2, 10)), [3, 4, 5])
  const part = log.since(0, 2)
  assert.deepEqual(numbersIn(part), [1, 2])
  assert.deepEqual(numbersIn(log.since(part?.upTo ?? 0, 10)), [3, 4, 5])
  assert.equal(log.since(6, 10), undefined)
})

test('the log is bounded, and says when it does not reach back far enough', () => {
  const log = new DeltaLog(100)
  for (let n = 1; n <= 1_000; n += 10) log.add(applied(n, n + 9))
  assert.equal(log.since(500, 10), undefined)
  assert.deepEqual(numbersIn(log.since(997, 10)), [998, 999, 1_000])
})

test('a peer is not given what it brought itself', () => {
  const log = new DeltaLog()
  log.add(applied(1, 4))
  log.cameFrom('b', [{ sequence: 2 }, { sequence: 3 }])
  assert.deepEqual(numbersIn(log.since(0, 10, 'b')), [1, 4])
  assert.deepEqual(numbersIn(log.since(0, 10, 'c')), [1, 2, 3, 4])
  assert.equal(log.since(0, 10, 'b')?.upTo, 4)
})

test('a neighbour that was away gets what is new without a search', async t => {
  const theirs = await openRecords(t, { origin: 'node-b' })
  const log = new DeltaLog()
  theirs.onApplied(each => log.add(each))
  await theirs.write([tagWrite('app', 'before')])
  const mine = new MemoryStore()
  await reconcile(mine, wireTo(peerStore(theirs, 'a')).ask, new AbortController().signal)
  const position = { epoch: 'b', sequence: theirs.sequence() }
  await theirs.write(Array.from({ length: 500 }, (_, i) => tagWrite('app', `v${i}`)))
  const own = numbered(0, 300)
  for (const record of own) mine.add(record)
  const logged = {
    ...peerStore(theirs, 'a'),
    since: ({ sequence }: { sequence: number }, limit: number) => log.since(sequence, limit)
  }
  const sent = await mine.idsIn('')
  const old = new Set((await theirs.idsIn('')).map(String))
  const from = Object.assign(mine, {
    since: () => ({ ids: sent.filter(id => !old.has(String(id))), upTo: own.length })
  })
  const wire = wireTo(logged)
  const result = await reconcile(from, wire.ask, new AbortController().signal, {
    theirs: position,
    mine: { epoch: 'a', sequence: 0 }
  })
  assert.deepEqual(result, { received: 500, sent: 300, end: 'equal', terms: NO_TERMS })
  // Compare, news, put, and compare again: the ranges were never looked at.
  assert.ok(wire.exchanges <= 5, `${wire.exchanges} exchanges`)
})
