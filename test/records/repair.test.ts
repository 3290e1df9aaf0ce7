import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Level } from 'level'
import { type JournalDisk, nodeDisk } from '../../src/records/disk.ts'
import type { Records } from '../../src/records/records.ts'
import { openRecords, scratch, systemError, tagWrite } from './fixtures.ts'

const ALL = { limit: 99 }

test('what the index refuses is seen by nobody, and by all once the index is repaired', async t => {
  const records = await openRecords(t)
  await records.write([tagWrite('app', 'v1')])
  const before = records.root()
  refuseOnce(t)
  const told = nextApplied(records)
  await assert.rejects(records.write([tagWrite('app', 'v2')]), { code: 'UNAVAILABLE' })
  assert.equal(records.failure?.code, 'UNAVAILABLE')
  assert.deepEqual(records.root(), before)
  // It was in the journal by then, and a crash would have shown it too.
  assert.deepEqual(await told, ['v2'])
  assert.equal(records.failure, undefined)
  assert.deepEqual(await records.tag('app', 'v2'), tagWrite('app', 'v2'))
  await records.write([tagWrite('app', 'v3')])
  assert.deepEqual(await records.tags('app', ALL), ['v1', 'v2', 'v3'])
})

test('while the disk has no room to repair the index nothing is written and all is read', async t => {
  const disk = diskWithoutRoom()
  const records = await openRecords(t, { disk, repairIntervalMs: 1 })
  await records.write([tagWrite('app', 'v1')])
  refuseOnce(t)
  const told = nextApplied(records)
  await assert.rejects(records.write([tagWrite('app', 'v2')]), { code: 'UNAVAILABLE' })
  await disk.asked(3)
  await assert.rejects(records.write([tagWrite('app', 'v3')]), { code: 'UNAVAILABLE' })
  assert.deepEqual(await records.tags('app', ALL), ['v1'])
  disk.hasRoom = true
  assert.deepEqual(await told, ['v2'])
  await records.write([tagWrite('app', 'v3')])
  assert.deepEqual(await records.tags('app', ALL), ['v1', 'v2', 'v3'])
})

test('an index that is not sound when it is opened again is built anew from the journal', async t => {
  const dataDir = await scratch(t)
  const records = await openRecords(t, { dataDir })
  for (const tag of ['v1', 'v2', 'v3']) await records.write([tagWrite('app', tag)])
  await records.write([{ kind: 'untag', repository: 'app', tag: 'v1' }])
  refuseOnce(t, () => writeFile(join(dataDir, 'index', 'records', 'CURRENT'), 'nothing'))
  const told = nextApplied(records)
  await assert.rejects(records.write([tagWrite('app', 'v4')]), { code: 'UNAVAILABLE' })
  assert.deepEqual(await told, ['v4'])
  assert.deepEqual(await records.tags('app', ALL), ['v2', 'v3', 'v4'])
  const root = records.root()
  await records.close()
  assert.deepEqual((await openRecords(t, { dataDir })).root(), root)
})

test('reads that come while the index is opened again are answered', async t => {
  const records = await openRecords(t)
  await records.write([tagWrite('app', 'v1')])
  refuseOnce(t)
  await assert.rejects(records.write([tagWrite('app', 'v2')]), { code: 'UNAVAILABLE' })
  let reads = 0
  while (records.failure !== undefined) {
    assert.deepEqual(await records.link('app', tagWrite('app', 'v1').digest), undefined)
    assert.ok((await records.tags('app', ALL)).includes('v1'))
    reads += 1
  }
  assert.ok(reads > 0)
})

test('closing does not wait for an index that cannot be repaired', async t => {
  const disk = diskWithoutRoom()
  const dataDir = await scratch(t)
  const records = await openRecords(t, { dataDir, disk, repairIntervalMs: 3_600_000 })
  refuseOnce(t)
  await assert.rejects(records.write([tagWrite('app', 'v1')]), { code: 'UNAVAILABLE' })
  await disk.asked(1)
  await records.close()
  const again = await openRecords(t, { dataDir })
  assert.deepEqual(await again.tag('app', 'v1'), tagWrite('app', 'v1'))
})

test('a start whose index takes no changes fails in our words, and the next has all', async t => {
  const dataDir = await scratch(t)
  const records = await openRecords(t, { dataDir, disk: diskWithoutRoom() })
  refuseOnce(t)
  await assert.rejects(records.write([tagWrite('app', 'v1')]), { code: 'UNAVAILABLE' })
  await records.close()
  refuseOnce(t)
  await assert.rejects(openRecords(t, { dataDir }), { code: 'DISK_FAILED' })
  const again = await openRecords(t, { dataDir })
  assert.deepEqual(await again.tag('app', 'v1'), tagWrite('app', 'v1'))
})

/** Lets the next change of an index fail, after something was done to what is on disk. */
function refuseOnce(t: TestContext, act: () => Promise<void> = async () => undefined): void {
  const refuse = async () => {
    await act()
    throw systemError('EIO')
  }
  t.mock.method(Level.prototype, 'batch', refuse, { times: 1 })
}

/** The tags of the next records that listeners are told of. */
function nextApplied(records: Records): Promise<string[]> {
  return new Promise(resolve => {
    const stop = records.onApplied(applied => {
      stop()
      resolve(applied.flatMap(({ value }) => (value?.kind === 'tag' ? [value.tag] : [])))
    })
  })
}

interface DiskWithoutRoom extends JournalDisk {
  hasRoom: boolean
  /** Resolves once it was asked so many times whether there is room. */
  asked(times: number): Promise<void>
}

/** The real disk, where there is room for records and none for an index, until a test makes some. */
function diskWithoutRoom(): DiskWithoutRoom {
  let count = 0
  let heard = () => {}
  const disk: DiskWithoutRoom = {
    ...nodeDisk,
    hasRoom: false,
    async asked(times) {
      while (count < times) {
        await new Promise<void>(resolve => {
          heard = resolve
        })
      }
    },
    async create(path) {
      if (disk.hasRoom || !path.endsWith('room.tmp')) return await nodeDisk.create(path)
      count += 1
      heard()
      throw systemError('ENOSPC')
    }
  }
  return disk
}
