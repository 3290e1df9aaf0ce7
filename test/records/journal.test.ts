import assert from 'node:assert/strict'
import { readdir, readFile, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import { silentLog } from '../../src/log.ts'
import { nodeDisk } from '../../src/records/disk.ts'
import { type Batch, encodeFrame, readSegment, segmentHeader } from '../../src/records/frame.ts'
import { Journal, type JournalOptions } from '../../src/records/journal.ts'
import type { Stamp } from '../../src/records/stamp.ts'
import { recordingDisk, scratch, systemError } from './fixtures.ts'

function batch(text: string, floor = 1): Batch {
  return { floor: floor as Stamp, records: [Buffer.from(text)] }
}

async function open(t: TestContext, options: Partial<JournalOptions> & { directory: string }) {
  const journal = await Journal.open({ disk: nodeDisk, log: silentLog, ...options })
  t.after(() => journal.close())
  return journal
}

async function textsOf(journal: Journal, ...after: Parameters<Journal['batches']>) {
  const entries = await Array.fromAsync(journal.batches(...after))
  return entries.flatMap(({ batch }) => batch.records.map(bytes => Buffer.from(bytes).toString()))
}

async function written(t: TestContext, texts: readonly string[]) {
  const directory = await scratch(t)
  const journal = await open(t, { directory })
  const marks = []
  for (const text of texts) marks.push(await journal.append([batch(text)]))
  await journal.close()
  const path = join(directory, 'journal-00000001.log')
  return { directory, path, marks, bytes: await readFile(path) }
}

test('what was appended is there after opening again, and is synced before the answer', async t => {
  const directory = await scratch(t)
  const disk = recordingDisk()
  const first = await open(t, { directory, disk })
  await first.append([batch('one', 7), batch('two')])
  assert.deepEqual(disk.events, ['create', 'append', 'sync', 'syncDirectory', 'append', 'sync'])
  await first.close()
  const again = await open(t, { directory })
  assert.deepEqual(await textsOf(again), ['one', 'two'])
  const floors = (await Array.fromAsync(again.batches())).map(({ batch }) => batch.floor)
  assert.deepEqual(floors, [7, 1])
  await again.append([batch('three')])
  assert.deepEqual(await textsOf(again), ['one', 'two', 'three'])
})

test('what a killed process wrote and did not live to sync is synced before it counts', async t => {
  const { directory } = await written(t, ['one', 'two'])
  const disk = recordingDisk()
  const journal = await open(t, { directory, disk })
  // Nobody can tell which frames, nor whether the name of the segment itself, had been synced.
  assert.deepEqual(disk.events, ['resume', 'sync', 'syncDirectory'])
  assert.deepEqual(await textsOf(journal), ['one', 'two'])
})

test('a tail torn at any byte is cut off, and appending goes on there', async t => {
  const { directory, path, marks, bytes } = await written(t, ['one', 'two'])
  const [end] = marks
  for (let size = 0; size < bytes.length; size++) {
    await writeFile(path, bytes.subarray(0, size))
    const journal = await open(t, { directory })
    const expected = size >= (end?.offset ?? 0) ? ['one'] : []
    assert.deepEqual([await textsOf(journal), journal.damage], [expected, []], `cut at ${size}`)
    await journal.append([batch('after')])
    await journal.close()
    const again = await open(t, { directory })
    assert.deepEqual(await textsOf(again), [...expected, 'after'])
    await again.close()
  }
})

test('a flipped byte anywhere costs at most the frame it is in', () => {
  const texts = ['first', 'second', 'third']
  let bytes = segmentHeader()
  const ends: number[] = []
  for (const text of texts) {
    bytes = Buffer.concat([bytes, encodeFrame(batch(text), 3, bytes.length).frame])
    ends.push(bytes.length)
  }
  fc.assert(
    fc.property(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const damaged = Buffer.from(bytes)
      damaged[at] = (damaged[at] ?? 0) ^ flip
      const pieces = [...readSegment(damaged, 3)]
      const read = pieces.flatMap(piece => (piece.kind === 'frame' ? piece.batch().records : []))
      const hit = at < 16 ? -1 : ends.findIndex(end => at < end)
      const left = texts.filter((_, index) => index !== hit)
      assert.deepEqual(
        read.map(String).map(text => Buffer.from(text.split(',').map(Number)).toString()),
        left
      )
      assert.equal(pieces.filter(piece => piece.kind === 'gap').length, 1)
    })
  )
})

test('a frame hidden inside a record, or moved to another place, is never taken for one', () => {
  const hidden = encodeFrame(batch('forged'), 1, 16).frame
  const outer = encodeFrame({ floor: 1 as Stamp, records: [hidden] }, 1, 16).frame
  const damaged = Buffer.concat([segmentHeader(), outer])
  damaged[20] = (damaged[20] ?? 0) ^ 1
  assert.deepEqual([...readSegment(damaged, 1)], [{ kind: 'gap', from: 16, to: damaged.length }])
  const moved = Buffer.concat([segmentHeader(), encodeFrame(batch('a'), 2, 16).frame])
  assert.equal([...readSegment(moved, 1)][0]?.kind, 'gap')
})

test('damage in the middle is listed, the rest is read, and compaction ends it', async t => {
  const { directory, path, marks, bytes } = await written(t, ['one', 'two', 'three'])
  const at = (marks[0]?.offset ?? 0) + 20
  bytes[at] = (bytes[at] ?? 0) ^ 0xff
  await writeFile(path, bytes)
  const journal = await open(t, { directory })
  assert.deepEqual(await textsOf(journal), ['one', 'three'])
  assert.deepEqual(journal.damage, [{ segment: 1, from: marks[0]?.offset, to: marks[1]?.offset }])
  const mark = await journal.roll(8)
  await journal.append([batch('later')])
  const live = (async function* () {
    yield Buffer.from('one')
    yield Buffer.from('three')
  })()
  await journal.compact(
    live,
    { mark, floor: 9 as Stamp, note: undefined },
    new AbortController().signal
  )
  await journal.close()
  const again = await open(t, { directory, mark })
  assert.deepEqual([again.damage, again.holdsMark], [[], true])
  assert.deepEqual(await textsOf(again), ['one', 'three', 'later'])
  assert.deepEqual(await textsOf(again, mark), ['later'])
  assert.ok((await readdir(directory)).includes('journal-00000001.log.damaged'))
})

test('a mark is found only where the very frame that it names still ends', async t => {
  const { directory, marks } = await written(t, ['one', 'two'])
  const [first, second] = marks
  assert.ok(first !== undefined && second !== undefined)
  const found = async (mark: typeof first) => {
    const journal = await open(t, { directory, mark })
    await journal.close()
    return journal.holdsMark
  }
  assert.equal(await found(first), true)
  assert.equal(await found({ ...first, checksum: first.checksum ^ 1 }), false)
  assert.equal(await found({ ...first, offset: first.offset + 1 }), false)
  assert.equal(await found({ segment: 1, offset: 16, checksum: 0 }), true)
  assert.equal(await found({ segment: 2, offset: 16, checksum: 0 }), false)
  await truncate(join(directory, 'journal-00000001.log'), first.offset)
  assert.equal(await found(second), false)
})

test('segments are bounded, and marks order them', async t => {
  const directory = await scratch(t)
  const journal = await open(t, { directory, segmentBytes: 100 })
  const texts = Array.from({ length: 20 }, (_, i) => `record ${i}`)
  for (const text of texts) await journal.append([batch(text)])
  assert.ok((await readdir(directory)).length > 3)
  assert.deepEqual(await textsOf(journal), texts)
})

test('after a failed sync the segment ends where it was sound, and the next append begins another', async t => {
  const directory = await scratch(t)
  const disk = recordingDisk()
  const journal = await open(t, { directory, disk })
  await journal.append([batch('one')])
  disk.fail = { operation: 'sync', error: systemError('EIO') }
  await assert.rejects(journal.append([batch('lost')]), { code: 'DISK_FAILED' })
  disk.fail = { operation: 'create', error: systemError('ENOSPC') }
  await assert.rejects(journal.append([batch('lost')]), { code: 'DISK_FULL' })
  await journal.append([batch('two')])
  await journal.close()
  const again = await open(t, { directory })
  assert.deepEqual([await textsOf(again), again.damage], [['one', 'two'], []])
})

test('a segment that could neither be begun nor removed is not in the way of the next append', async t => {
  const directory = await scratch(t)
  const refusal = { isOn: true }
  const refusing = async <T>(action: () => Promise<T>): Promise<T> => {
    if (refusal.isOn) throw systemError('EIO')
    return await action()
  }
  const journal = await open(t, {
    directory,
    disk: {
      ...nodeDisk,
      create: async path => {
        const file = await nodeDisk.create(path)
        return { ...file, append: bytes => refusing(() => file.append(bytes)) }
      },
      remove: path => refusing(() => nodeDisk.remove(path))
    }
  })
  for (const _ of [1, 2]) {
    await assert.rejects(journal.append([batch('lost')]), { code: 'DISK_FAILED' })
  }
  refusal.isOn = false
  await journal.append([batch('one')])
  await journal.close()
  const again = await open(t, { directory })
  assert.deepEqual([await textsOf(again), again.damage], [['one'], []])
})

test('a compaction that fails or is given up changes nothing', async t => {
  const directory = await scratch(t)
  const disk = recordingDisk()
  const journal = await open(t, { directory, disk })
  await journal.append([batch('one')])
  const live = async function* () {
    yield Buffer.from('one')
  }
  const compact = async (signal: AbortSignal) =>
    await journal.compact(
      live(),
      { mark: await journal.roll(3), floor: 1 as Stamp, note: undefined },
      signal
    )
  await assert.rejects(compact(AbortSignal.abort(new Error('given up'))), /given up/)
  disk.fail = { operation: 'rename', error: systemError('ENOSPC') }
  await assert.rejects(compact(new AbortController().signal), { code: 'DISK_FULL' })
  assert.deepEqual(await textsOf(journal), ['one'])
  await compact(new AbortController().signal)
  assert.deepEqual(await textsOf(journal), ['one'])
  assert.deepEqual(
    (await readdir(directory)).filter(name => name.endsWith('.tmp')),
    []
  )
})

test('a journal of a later format is not opened, since nobody could tell it from damage', async t => {
  const { directory, path, bytes } = await written(t, ['one'])
  const { crc32 } = await import('node:zlib')
  bytes.writeUInt32LE(2, 8)
  bytes.writeUInt32LE(crc32(bytes.subarray(0, 12)), 12)
  await writeFile(path, bytes)
  await assert.rejects(open(t, { directory }), { code: 'DATA_DAMAGED' })
})
