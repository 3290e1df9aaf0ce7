import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { decodeRecord, encodeRecord } from '../../src/records/record.ts'
import type { Applied } from '../../src/records/records.ts'
import { type Stamp, stampMs } from '../../src/records/stamp.ts'
import type { MemberValue, Write } from '../../src/records/values.ts'
import { openRecords, recordingDisk, systemError, tagWrite, testClock } from './fixtures.ts'

const digest = digestOf(Buffer.from('manifest'))
const ALL = { limit: 1_000 }

function bytesOf(applied: readonly Applied[]): Uint8Array[] {
  return applied.map(({ bytes }) => bytes)
}

function linkWrite(repository: string): Write {
  return { kind: 'link', repository, digest, mediaType: 'application/json', sizeBytes: 8 }
}

test('every kind of value is read as it was written, until it is deleted', async t => {
  const records = await openRecords(t)
  const member: MemberValue = {
    kind: 'member',
    id: 'node-a',
    name: 'Ä node',
    mesh: ['10.0.0.1:5052', '[fd00::1]:5052'],
    transfer: '10.0.0.1:5053',
    protocol: [1, 1],
    hold: 'all'
  }
  const lease = { kind: 'lease', repository: 'app', digest, sizeBytes: 5, ttlMs: 60_000 } as const
  await records.write([tagWrite('app', 'v1'), linkWrite('app'), lease, member])
  assert.deepEqual(await records.tag('app', 'v1'), tagWrite('app', 'v1'))
  assert.deepEqual(await records.link('app', digest), linkWrite('app'))
  assert.deepEqual(await records.lease('app', digest), { ...lease, writtenMs: 1_800_000_000_000 })
  assert.deepEqual(await records.members(), [member])
  assert.equal((await Array.fromAsync(records.links())).length, 1)
  assert.equal((await Array.fromAsync(records.leases())).length, 1)
  assert.equal((await Array.fromAsync(records.tagsAll())).length, 1)
  await records.write([
    { kind: 'untag', repository: 'app', tag: 'v1' },
    { kind: 'unlink', repository: 'app', digest },
    { kind: 'release', repository: 'app', digest },
    { kind: 'forget', id: 'node-a' }
  ])
  assert.equal(await records.tag('app', 'v1'), undefined)
  assert.equal(await records.link('app', digest), undefined)
  assert.equal(await records.lease('app', digest), undefined)
  assert.deepEqual(await records.members(), [])
  assert.deepEqual(await records.repositories(ALL), [])
  assert.equal(records.root().count, 4)
})

test('listeners hear of each commit before its writer does, with values before and after', async t => {
  const records = await openRecords(t)
  const heard: Applied[] = []
  const stop = records.onApplied(applied => heard.push(...applied))
  const applied = await records.write([tagWrite('app', 'v1'), tagWrite('app', 'v1', 'other')])
  assert.deepEqual(heard, applied)
  assert.deepEqual(
    applied.map(({ before, value, sequence }) => ({ before, value, sequence })),
    [
      { before: undefined, value: tagWrite('app', 'v1'), sequence: 1 },
      { before: tagWrite('app', 'v1'), value: tagWrite('app', 'v1', 'other'), sequence: 2 }
    ]
  )
  assert.equal(records.sequence(), 2)
  assert.equal(records.root().count, 1)
  stop()
  await records.write([tagWrite('app', 'v2')])
  assert.equal(heard.length, 2)
})

test('writers that come together share a sync, and none overtakes another', async t => {
  const disk = recordingDisk()
  const records = await openRecords(t, { disk })
  await records.write([tagWrite('app', 'warm')])
  disk.events.length = 0
  const writers = Array.from({ length: 100 }, (_, i) =>
    records.write([tagWrite('app', 'v', `${i}`)])
  )
  const applied = (await Promise.all(writers)).flat()
  assert.ok(disk.events.filter(event => event === 'sync').length <= 2)
  assert.deepEqual(await records.tag('app', 'v'), tagWrite('app', 'v', '99'))
  assert.equal(records.root().count, 2)
  assert.ok(applied.every(({ conflict }) => !conflict))
})

test('names list in byte order, page by page, whatever they contain', async t => {
  const records = await openRecords(t)
  const names = ['a', 'a-b', 'a.b', 'a/b', 'a/b/c', 'a0', 'a_b', 'aa', 'b', 'localhost:5000/a']
  await records.write(names.flatMap(name => [tagWrite(name, 'x'), tagWrite(name, 'y')]))
  await records.write([linkWrite('a-linked'), linkWrite('zz')])
  await records.write([
    { kind: 'untag', repository: 'aa', tag: 'x' },
    { kind: 'untag', repository: 'aa', tag: 'y' },
    { kind: 'untag', repository: 'b', tag: 'x' }
  ])
  const expected = [...names.filter(name => name !== 'aa'), 'a-linked', 'zz'].sort()
  assert.deepEqual(await records.repositories(ALL), expected)
  for (const limit of [1, 3, 100]) {
    const paged: string[] = []
    for (let page = await records.repositories({ limit }); page.length > 0; ) {
      paged.push(...page)
      page = await records.repositories({ limit, after: page.at(-1) ?? '' })
    }
    assert.deepEqual(paged, expected)
  }
  assert.deepEqual(await records.repositories({ limit: 2, after: 'a-' }), ['a-b', 'a-linked'])
  assert.deepEqual(await records.repositories({ limit: 0 }), [])
  assert.deepEqual(await records.tags('a', ALL), ['x', 'y'])
  assert.deepEqual(await records.tags('b', ALL), ['y'])
})

test('tags list in byte order after a tag, and exclude it', async t => {
  const records = await openRecords(t)
  const tags = ['1', '1.0', '1.0-rc', '10', 'A', 'Z_', '_', 'a', 'a.1', 'latest']
  await records.write(tags.map(tag => tagWrite('app', tag)))
  assert.deepEqual(await records.tags('app', ALL), tags.toSorted())
  assert.deepEqual(await records.tags('app', { after: '1', limit: 2 }), ['1.0', '1.0-rc'])
  assert.deepEqual(await records.tags('app', { after: '11', limit: 1 }), ['A'])
  assert.deepEqual(await records.tags('app', { limit: 0 }), [])
  assert.deepEqual(await records.tags('ap', ALL), [])
})

test('nodes that exchange their records in any order end with the same root', async t => {
  const clock = testClock()
  const a = await openRecords(t, { origin: 'node-a', clock })
  const b = await openRecords(t, { origin: 'node-b', clock })
  const fromA = await a.write([tagWrite('app', 'v1', 'a'), tagWrite('app', 'v2', 'a')])
  const fromB = await b.write([tagWrite('app', 'v1', 'b'), linkWrite('app')])
  const { applied } = await b.apply([...bytesOf(fromA), ...bytesOf(fromA)])
  assert.deepEqual(
    applied.map(({ key, local, conflict }) => ({ key, local, conflict })),
    [
      { key: 'app v1', local: false, conflict: true },
      { key: 'app v2', local: false, conflict: false }
    ]
  )
  for (const bytes of bytesOf(fromB).reverse()) await a.apply([bytes])
  assert.deepEqual(a.root(), b.root())
  assert.deepEqual(a.divide(''), b.divide(''))
  assert.deepEqual(await a.tag('app', 'v1'), await b.tag('app', 'v1'))
  const resolved = await a.write([tagWrite('app', 'v1', 'c')])
  assert.equal(resolved[0]?.conflict, false)
  assert.equal((await b.apply(bytesOf(resolved))).applied.length, 1)
  assert.equal((await b.apply(bytesOf([...fromA, ...fromB]))).applied.length, 0)
  assert.deepEqual(a.root(), b.root())
})

test('a write overrides what it saw, also when the clock of the other node is years ahead', async t => {
  const now = testClock()
  const future = testClock(now.ms + 10 * 365 * 86_400_000)
  const a = await openRecords(t, { clock: now })
  const b = await openRecords(t, { origin: 'node-b', clock: future })
  await a.apply(bytesOf(await b.write([tagWrite('app', 'v1', 'future')])))
  const drift = a.drift.worst()
  assert.equal(drift?.origin, 'node-b')
  assert.ok((drift?.aheadMs ?? 0) > 9 * 365 * 86_400_000)
  now.ms += 11 * 60_000
  assert.equal(a.drift.worst(), undefined)
  now.ms -= 11 * 60_000
  const [own] = await a.write([tagWrite('app', 'v1', 'now')])
  assert.deepEqual(await a.tag('app', 'v1'), tagWrite('app', 'v1', 'now'))
  await b.apply(bytesOf(own === undefined ? [] : [own]))
  assert.deepEqual(await b.tag('app', 'v1'), tagWrite('app', 'v1', 'now'))
  const [other] = await a.write([tagWrite('app', 'other')])
  assert.equal(stampMs(decodeRecord(other?.bytes ?? Buffer.alloc(0)).stamp), now.ms)
})

test('deleted stays deleted when old records come again, and lives when pushed again', async t => {
  const a = await openRecords(t)
  const b = await openRecords(t, { origin: 'node-b' })
  const pushed = await a.write([tagWrite('app', 'v1')])
  await b.apply(bytesOf(pushed))
  const deleted = await b.write([{ kind: 'untag', repository: 'app', tag: 'v1' }])
  await a.apply(bytesOf(deleted))
  await a.apply(bytesOf(pushed))
  assert.equal(await a.tag('app', 'v1'), undefined)
  await a.write([tagWrite('app', 'v1')])
  assert.deepEqual(await a.tag('app', 'v1'), tagWrite('app', 'v1'))
  const again = await a.write([{ kind: 'untag', repository: 'app', tag: 'never' }])
  assert.deepEqual(again, [])
})

test('kinds, versions and bodies that this version cannot read are carried byte for byte', async t => {
  const a = await openRecords(t)
  const b = await openRecords(t, { origin: 'node-b' })
  const base = { origin: 'node-x', stamp: 2_000 as Stamp, seen: new Map(), body: new Map() }
  const unknown = encodeRecord({ ...base, kind: 'weather', key: 'k\0\u{10ffff}' })
  const malformed = encodeRecord({ ...base, kind: 'tag', key: 'app v1' })
  const later = Buffer.from(encodeRecord({ ...base, kind: 'link', key: 'app later' }).bytes)
  later[1] = 2
  const strangers = [unknown.bytes, malformed.bytes, later]
  const { applied, invalid } = await a.apply(strangers)
  assert.deepEqual([applied.length, invalid, a.unreadable()], [3, 0, 2])
  const ids = await a.idsIn('')
  await b.apply(await a.get(ids))
  assert.deepEqual(b.root(), a.root())
  const sorted = (all: readonly Uint8Array[]) =>
    all.map(one => Buffer.from(one)).sort(Buffer.compare)
  assert.deepEqual(sorted(await b.get(ids)), sorted(strangers))
  assert.equal(await a.tag('app', 'v1'), undefined)
})

test('a record whose body names another register speaks for none', async t => {
  const records = await openRecords(t)
  const forged = encodeRecord({
    kind: 'tag',
    key: 'app v1',
    origin: 'node-x',
    stamp: 5 as Stamp,
    seen: new Map(),
    body: new Map(Object.entries({ repository: 'other', tag: 'v1', digest }))
  })
  assert.equal((await records.apply([forged.bytes])).applied[0]?.value, undefined)
  assert.deepEqual(await records.repositories(ALL), [])
  assert.equal(await records.tag('app', 'v1'), undefined)
})

test('what breaks the envelope is counted and dropped, and the rest of the batch counts', async t => {
  const a = await openRecords(t)
  const b = await openRecords(t, { origin: 'node-b' })
  const [good] = bytesOf(await b.write([tagWrite('app', 'v1')]))
  assert.ok(good !== undefined)
  const { applied, invalid } = await a.apply([Buffer.alloc(5_000), good, good.subarray(1)])
  assert.deepEqual([applied.length, invalid], [1, 2])
})

test('a write with one bad change does nothing at all', async t => {
  const records = await openRecords(t)
  const bad: Write[] = [
    tagWrite('', 'v1'),
    tagWrite('with space', 'v1'),
    tagWrite('a'.repeat(600), 'v1'),
    { kind: 'untag', repository: 'a'.repeat(600), tag: 'v1' },
    { kind: 'forget', id: '' },
    { kind: 'lease', repository: 'app', digest, sizeBytes: -1, ttlMs: 1 }
  ]
  for (const write of bad) {
    const writes = [tagWrite('app', 'v1'), write]
    await assert.rejects(records.write(writes), { code: 'RECORD_INVALID' })
  }
  assert.equal(records.root().count, 0)
})

test('a register at the last stamp can no longer be written, and others of the batch are untouched', async t => {
  const records = await openRecords(t)
  const last = encodeRecord({
    kind: 'tag',
    key: 'app v1',
    origin: 'node-x',
    stamp: Number.MAX_SAFE_INTEGER as Stamp,
    seen: new Map(),
    body: new Map(Object.entries({ repository: 'app', tag: 'v1', digest }))
  })
  await records.apply([last.bytes])
  const writes = [tagWrite('app', 'v0'), tagWrite('app', 'v1')]
  await assert.rejects(records.write(writes), { code: 'RECORD_INVALID' })
  assert.deepEqual(await records.tags('app', ALL), ['v1'])
})

test('a write that the disk refuses is not seen, and the next one works', async t => {
  const disk = recordingDisk()
  const records = await openRecords(t, { disk })
  await records.write([tagWrite('app', 'v1')])
  disk.fail = { operation: 'append', error: systemError('ENOSPC') }
  await assert.rejects(records.write([tagWrite('app', 'v2')]), { code: 'DISK_FULL' })
  disk.fail = { operation: 'sync', error: systemError('EIO') }
  await assert.rejects(records.write([tagWrite('app', 'v2')]), { code: 'DISK_FAILED' })
  assert.deepEqual(await records.tags('app', ALL), ['v1'])
  await records.write([tagWrite('app', 'v3')])
  assert.deepEqual(await records.tags('app', ALL), ['v1', 'v3'])
})

test('more records than may wait are refused, and closing finishes those that do', async t => {
  const records = await openRecords(t)
  const batch = Array.from({ length: 1_000 }, (_, i) => tagWrite('app', `v${i % 20}`))
  const writes = Array.from({ length: 20 }, () => records.write(batch))
  const closing = records.close()
  assert.equal(records.close(), closing)
  const settled = await Promise.allSettled(writes)
  const refused = settled.filter(result => result.status === 'rejected')
  assert.ok(refused.length > 0 && refused.length < 20)
  for (const { reason } of refused) assert.equal(reason.code, 'UNAVAILABLE')
  await closing
  await assert.rejects(records.write([tagWrite('app', 'late')]), { code: 'CLOSED' })
})

test('a read that overlaps a write does not make later reads forget the write', async t => {
  const records = await openRecords(t)
  const other = digestOf(Buffer.from('another manifest'))
  for (let round = 0; round < 50; round++) {
    const wanted = round % 2 === 0 ? digest : other
    const writing = records.write([{ kind: 'tag', repository: 'app', tag: 'v1', digest: wanted }])
    const reading = Array.from({ length: 20 }, async (_, index) => {
      for (let turn = 0; turn < index; turn++) await Promise.resolve()
      return records.tag('app', 'v1')
    })
    await Promise.all([writing, ...reading])
    assert.equal((await records.tag('app', 'v1'))?.digest, wanted)
  }
})
