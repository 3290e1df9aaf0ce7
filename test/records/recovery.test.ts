import assert from 'node:assert/strict'
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import type { Root } from '../../src/records/fingerprint.ts'
import { openRecords, recordingDisk, scratch, tagWrite, testClock } from './fixtures.ts'

const TAGS = Array.from({ length: 40 }, (_, i) => `v${i}`)

interface Prepared {
  readonly dataDir: string
  readonly root: Root
}

/** A closed node with 40 tags, some written over and one deleted. */
async function prepared(t: TestContext): Promise<Prepared> {
  const dataDir = await scratch(t)
  const records = await openRecords(t, { dataDir })
  for (const tag of TAGS) await records.write([tagWrite('app', tag, 'old')])
  await records.write(TAGS.map(tag => tagWrite('app', tag)))
  await records.write([{ kind: 'untag', repository: 'app', tag: 'v7' }])
  const root = records.root()
  await records.close()
  return { dataDir, root }
}

async function expectWhole(t: TestContext, { dataDir, root }: Prepared, log = recordedLog()) {
  const records = await openRecords(t, { dataDir, log: log.log })
  assert.deepEqual(records.root(), root)
  assert.equal(await records.tag('app', 'v7'), undefined)
  assert.deepEqual(await records.tag('app', 'v8'), tagWrite('app', 'v8'))
  assert.equal((await records.tags('app', { limit: 100 })).length, TAGS.length - 1)
  const [applied] = await records.write([tagWrite('app', 'after')])
  assert.ok(applied !== undefined)
  await records.close()
  const again = await openRecords(t, { dataDir })
  assert.deepEqual(await again.tag('app', 'after'), tagWrite('app', 'after'))
  await again.close()
  return log.lines
}

function recordedLog() {
  const lines: string[] = []
  const log = pino({ level: 'debug' }, { write: line => lines.push(JSON.parse(line).msg) })
  return { log, lines }
}

async function damage(path: string, from: number, bytes: Buffer): Promise<void> {
  const content = await readFile(path)
  bytes.copy(content, from)
  await writeFile(path, content)
}

test('without its index a node has all its records after a start', async t => {
  const node = await prepared(t)
  await rm(join(node.dataDir, 'index'), { recursive: true })
  await expectWhole(t, node)
})

test('an index damaged anywhere in the middle is built again', async t => {
  const node = await prepared(t)
  const index = join(node.dataDir, 'index', 'records')
  await (await openRecords(t, { dataDir: node.dataDir })).close()
  for (const name of await readdir(index)) {
    const path = join(index, name)
    const { size } = await stat(path)
    if (size === 0) continue
    for (const at of [0.1, 0.5, 0.9]) {
      const copy = await scratch(t)
      await cp(node.dataDir, copy, { recursive: true })
      const noise = Buffer.alloc(Math.min(64, size), 0xa5)
      await damage(
        join(copy, 'index', 'records', name),
        Math.floor((size - noise.length) * at),
        noise
      )
      await expectWhole(t, { ...node, dataDir: copy })
    }
  }
})

test('single flipped bits in the index are never served', async t => {
  const node = await prepared(t)
  const index = join(node.dataDir, 'index', 'records')
  await (await openRecords(t, { dataDir: node.dataDir })).close()
  for (const name of (await readdir(index)).filter(name => /\.(ldb|log)$/.test(name))) {
    const content = await readFile(join(index, name))
    for (let at = 5; at < content.length; at += Math.ceil(content.length / 12)) {
      const copy = await scratch(t)
      await cp(node.dataDir, copy, { recursive: true })
      await damage(join(copy, 'index', 'records', name), at, Buffer.from([(content[at] ?? 0) ^ 4]))
      await expectWhole(t, { ...node, dataDir: copy })
    }
  }
})

test('a journal that is damaged, cut short, older or gone is written again from a sound index', async t => {
  const node = await prepared(t)
  const journal = join(node.dataDir, 'records', 'journal-00000001.log')
  const sound = await readFile(journal)
  const broken = Buffer.from(sound)
  broken.fill(0x5a, 2_000, 4_000)
  for (const content of [broken, sound.subarray(0, 3_000), sound.subarray(0, 16), undefined]) {
    const copy = await scratch(t)
    await cp(node.dataDir, copy, { recursive: true })
    const path = join(copy, 'records', 'journal-00000001.log')
    await (content === undefined ? rm(path) : writeFile(path, content))
    const lines = await expectWhole(t, { ...node, dataDir: copy })
    assert.ok(lines.includes('record journal rewritten from the index'))
    await rm(join(copy, 'index'), { recursive: true })
    const rebuilt = await openRecords(t, { dataDir: copy })
    assert.equal(rebuilt.root().count, node.root.count + 1)
  }
})

test('with both damaged every sound frame counts, and what is lost is said once', async t => {
  const { dataDir } = await prepared(t)
  const path = join(dataDir, 'records', 'journal-00000001.log')
  const content = await readFile(path)
  content.fill(0, content.length - 900, content.length - 600)
  await writeFile(path, content)
  await rm(join(dataDir, 'index'), { recursive: true })
  const first = recordedLog()
  const records = await openRecords(t, { dataDir, log: first.log })
  assert.ok(first.lines.includes('records lost from the journal, only peers have them'))
  assert.ok(records.root().count > 0)
  const root = records.root()
  await records.close()
  const second = recordedLog()
  assert.deepEqual((await openRecords(t, { dataDir, log: second.log })).root(), root)
  assert.deepEqual(second.lines, [])
})

test('a crash between journal and index loses nothing: the index is brought up from its mark', async t => {
  const dataDir = await scratch(t)
  const before = await openRecords(t, { dataDir })
  await before.write([tagWrite('app', 'one')])
  await before.close()
  const kept = await scratch(t)
  await cp(join(dataDir, 'index'), kept, { recursive: true })
  const after = await openRecords(t, { dataDir })
  await after.write([tagWrite('app', 'two'), { kind: 'untag', repository: 'app', tag: 'one' }])
  const root = after.root()
  await after.close()
  await rm(join(dataDir, 'index'), { recursive: true })
  await cp(kept, join(dataDir, 'index'), { recursive: true })
  const { log, lines } = recordedLog()
  const again = await openRecords(t, { dataDir, log })
  assert.deepEqual(again.root(), root)
  assert.deepEqual(await again.tags('app', { limit: 9 }), ['two'])
  assert.deepEqual(lines, ['journal replayed'])
})

test('one call of write is there wholly or not at all, wherever the power went', async t => {
  const dataDir = await scratch(t)
  const records = await openRecords(t, { dataDir })
  await records.write([tagWrite('app', 'before')])
  await records.write([tagWrite('app', 'a'), tagWrite('app', 'b'), tagWrite('app', 'c')])
  await records.close()
  const path = join(dataDir, 'records', 'journal-00000001.log')
  const content = await readFile(path)
  for (let size = content.length; size > 0; size -= 97) {
    await writeFile(path, content.subarray(0, size))
    await rm(join(dataDir, 'index'), { recursive: true, force: true })
    const cut = await openRecords(t, { dataDir })
    const tags = await cut.tags('app', { limit: 9 })
    assert.ok([0, 1, 4].includes(tags.length), `${tags} at ${size}`)
    await cut.close()
  }
})

test('after a restart, and with the index lost too, no stamp is issued again', async t => {
  const dataDir = await scratch(t)
  const clock = testClock()
  const first = await openRecords(t, { dataDir, clock })
  const [a] = await first.write([tagWrite('app', 'one')])
  await first.close()
  await rm(join(dataDir, 'index'), { recursive: true })
  clock.ms -= 86_400_000
  const second = await openRecords(t, { dataDir, clock })
  const [b] = await second.write([tagWrite('app', 'two')])
  const { decodeRecord } = await import('../../src/records/record.ts')
  assert.ok(a !== undefined && b !== undefined)
  assert.ok(decodeRecord(b.bytes).stamp > decodeRecord(a.bytes).stamp)
})

test('a journal of mostly dead records is compacted while writes go on', async t => {
  const dataDir = await scratch(t)
  const disk = recordingDisk()
  const small = { segmentBytes: 16 * 1024, compactSlackBytes: 32 * 1024 }
  const records = await openRecords(t, { dataDir, disk, ...small })
  const tags = Array.from({ length: 50 }, (_, i) => `v${i}`)
  for (let round = 0; round < 40; round++) {
    await records.write(tags.map(tag => tagWrite('app', tag, `${round}`)))
  }
  const root = records.root()
  await records.close()
  assert.ok(disk.events.includes('rename'))
  const files = await readdir(join(dataDir, 'records'))
  assert.ok(files.every(name => /^journal-\d+\.log$/.test(name)))
  const again = await openRecords(t, { dataDir })
  assert.deepEqual(again.root(), root)
  await again.close()
  await rm(join(dataDir, 'index'), { recursive: true })
  assert.deepEqual((await openRecords(t, { dataDir })).root(), root)
})

test('a second process on the same data is refused', async t => {
  const dataDir = await scratch(t)
  await openRecords(t, { dataDir })
  await assert.rejects(openRecords(t, { dataDir }), { code: 'DATA_LOCKED' })
})
