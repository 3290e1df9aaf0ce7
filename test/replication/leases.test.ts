import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { Records } from '../../src/records/records.ts'
import { Leases } from '../../src/replication/leases.ts'
import { RunningTime } from '../../src/replication/running-time.ts'
import { HandClock, named, temporary } from './fixtures.ts'

const TTL_MS = 1_000
const digest = named('blob')
const name = { repository: 'app', digest }

test('a lease ends when its time is over since this node heard of it, and not before', async t => {
  const { clock, leases, write } = await open(t)
  await write()
  clock.ms += TTL_MS - 1
  assert.equal(leases.leftMs(digest), 1)
  assert.deepEqual(leases.takeExpired(), [])
  clock.ms += 1
  assert.deepEqual(leases.takeExpired(), [name])
  assert.equal(leases.leftMs(digest), undefined)
  assert.deepEqual(leases.takeExpired(), [])
})

test('a lease that is written again lasts its whole time again', async t => {
  const { clock, leases, write } = await open(t)
  await write()
  clock.ms += TTL_MS - 1
  await write()
  clock.ms += TTL_MS - 1
  assert.deepEqual(leases.takeExpired(), [])
})

test('a start grants every lease its whole time again, and takes none for its own', async t => {
  const { clock, records, leases, write } = await open(t)
  await write()
  assert.equal(leases.isFresh(name), true)
  clock.ms += TTL_MS
  const nowMs = () => clock.ms
  const again = await Leases.open({ records, ttlMs: TTL_MS, nowMs, random: () => 0 })
  t.after(() => again.close())
  assert.equal(again.leftMs(digest), TTL_MS)
  // Who else heard of it heard of it long ago, so that it has to be written again.
  assert.equal(again.isFresh(name), false)
})

test('only a lease written a moment ago need not be written again', async t => {
  const { clock, leases, write } = await open(t)
  assert.equal(leases.isFresh(name), false)
  await write()
  clock.ms += TTL_MS / 4 - 1
  assert.equal(leases.isFresh(name), true)
  clock.ms += 1
  assert.equal(leases.isFresh(name), false)
})

test('the record of a lease that is over is taken back by its writer first', async t => {
  const { clock, records, leases, write } = await open(t)
  const other = await open(t, 'other')
  other.leases.close()
  await write()
  const heard = await Leases.open({
    ...{ records: other.records, ttlMs: TTL_MS, random: () => 0.5 },
    nowMs: () => clock.ms
  })
  t.after(() => heard.close())
  await other.records.apply(await records.get(await records.idsIn('')))
  clock.ms += TTL_MS
  assert.equal(leases.takeExpired().length, 1)
  assert.equal(heard.takeExpired().length, 1)
  assert.deepEqual(leases.releasable(), [name])
  assert.deepEqual(heard.releasable(), [])
  clock.ms += TTL_MS / 2
  assert.deepEqual(heard.releasable(), [name])
  await records.write([{ kind: 'release', ...name }])
  assert.deepEqual(leases.releasable(), [])
})

test('on a full disk only pushes that are uploading keep their leases', async t => {
  const { leases, write } = await open(t)
  await write('app')
  await write('other')
  assert.deepEqual(leases.takeExpired(new Set(['other'])), [name])
  assert.equal(leases.leftMs(digest), TTL_MS)
  // The others may keep theirs, so the record stays until its time is over.
  assert.deepEqual(leases.releasable(), [])
})

test('time in which this process did not run counts for no lease', () => {
  const clock = new HandClock()
  const time = new RunningTime(clock, 100)
  clock.ms += 60
  assert.equal(time.ms(), 60)
  clock.ms += 1_000_000
  assert.equal(time.ms(), 160)
})

async function open(t: TestContext, origin = 'me') {
  const clock = new HandClock()
  const records = await Records.open({
    ...{ dataDir: await temporary(t), origin, clock: systemClock, log: silentLog }
  })
  t.after(() => records.close())
  const nowMs = () => clock.ms
  const leases = await Leases.open({ records, ttlMs: TTL_MS, nowMs, random: () => 0 })
  t.after(() => leases.close())
  const write = async (repository = 'app') => {
    await records.write([{ kind: 'lease', repository, digest, sizeBytes: 1, ttlMs: TTL_MS }])
  }
  return { clock, records, leases, write }
}
