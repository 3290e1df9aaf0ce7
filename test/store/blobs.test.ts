import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Digest, digestOf, parseDigest } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Blobs } from '../../src/store/blobs.ts'
import { blobPath, layoutOf } from '../../src/store/layout.ts'
import { incompleteBlobs, MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'
import { TestDisk } from './test-disk.ts'

test('a blob that was put is read back, whole and in part, also after a restart', async t => {
  const dataDir = await scratch(t)
  const bytes = someBytes(2 * MIB + 5)
  const digest = digestOf(bytes)
  const first = await openBlobs(t, dataDir)
  await first.put(bytes, digest)
  await first.close()

  const blobs = await openBlobs(t, dataDir)
  assert.deepEqual(blobs.stat(digest), { sizeBytes: bytes.length })
  assert.deepEqual([...blobs.digests()], [digest])
  assert.deepEqual(blobs.totals(), { count: 1, bytes: bytes.length })
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  for (const [start, end] of [
    [0, 1],
    [MIB - 1, MIB + 1],
    [bytes.length - 1, bytes.length],
    [7, 7]
  ] as const) {
    const part = await readAll(await blobs.read(digest, { start, end }))
    assert.deepEqual(part, bytes.subarray(start, end))
  }
  const beyond = { start: 0, end: bytes.length + 1 }
  await assert.rejects(blobs.read(digest, beyond), error => isCode(error, 'RANGE_INVALID'))
})

test('a blob of no bytes is a blob like any other', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const nothing = Buffer.alloc(0)
  await blobs.put(nothing, digestOf(nothing))
  assert.deepEqual(await readAll(await blobs.read(digestOf(nothing))), nothing)
  assert.deepEqual(await blobs.bytes(digestOf(nothing), 10), nothing)
})

test('bytes under a wrong digest are refused, and what is not held is unknown', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const absent = digestOf(Buffer.from('absent'))
  await assert.rejects(blobs.put(someBytes(10), absent), error => isCode(error, 'DIGEST_INVALID'))
  await assert.rejects(blobs.read(absent), error => isCode(error, 'BLOB_UNKNOWN'))
  await assert.rejects(blobs.bytes(absent, 10), error => isCode(error, 'BLOB_UNKNOWN'))
})

test('the same blob put many times at once is written and told of once', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const bytes = someBytes(1000)
  const told: Digest[] = []
  blobs.onHeld(digest => told.push(digest))
  await Promise.all(Array.from({ length: 20 }, () => blobs.put(bytes, digestOf(bytes))))
  assert.deepEqual(told, [digestOf(bytes)])
  assert.deepEqual(blobs.totals(), { count: 1, bytes: 1000 })
})

test('a listener that throws hurts neither the commit nor the next listener', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const bytes = someBytes(10)
  let told = 0
  const forget = blobs.onHeld(() => {
    throw new Error('not my day')
  })
  blobs.onHeld(() => {
    told += 1
  })
  await blobs.put(bytes, digestOf(bytes))
  forget()
  assert.equal(told, 1)
})

test('a removed blob is gone for new readers, while one that reads it comes to the end', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const blobs = await openBlobs(t, dataDir, disk)
  const bytes = someBytes(5 * MIB)
  const digest = digestOf(bytes)
  const lost: Digest[] = []
  blobs.onLost(which => lost.push(which))
  await blobs.put(bytes, digest)
  const stream = await blobs.read(digest)
  const before = disk.steps.length
  await blobs.remove(digest)
  assert.deepEqual(
    disk.steps.slice(before).map(step => step.kind),
    ['remove', 'sync']
  )
  assert.equal(blobs.stat(digest), undefined)
  assert.deepEqual(blobs.totals(), { count: 0, bytes: 0 })
  assert.deepEqual(await readAll(stream), bytes)
  assert.deepEqual(lost, [], 'whoever removes it knows')
  await blobs.put(bytes, digest)
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
})

for (const damage of ['cut short', 'missing'] as const) {
  test(`a blob whose file is ${damage} is dropped and reported by the first read`, async t => {
    const dataDir = await scratch(t)
    const { blobs, bytes, digest, path, lost } = await withBlob(t, dataDir)
    await (damage === 'missing' ? rm(path) : truncate(path, 100))
    await assert.rejects(blobs.read(digest), error => isCode(error, 'BLOB_UNKNOWN'))
    assert.equal(blobs.stat(digest), undefined)
    assert.deepEqual(lost, [digest])
    assert.deepEqual(await incompleteBlobs(dataDir), [])
    await blobs.put(bytes, digest)
    assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  })
}

test('a blob cut short while it is being read ends the stream and is dropped', async t => {
  const { blobs, digest, path, lost } = await withBlob(t, await scratch(t))
  const stream = await blobs.read(digest)
  await truncate(path, MIB)
  await assert.rejects(readAll(stream), error => isCode(error, 'DATA_DAMAGED'))
  assert.equal(blobs.stat(digest), undefined)
  assert.deepEqual(lost, [digest])
})

test('damage met in an old file is not held against the sound one that replaced it', async t => {
  const { blobs, bytes, digest, path, lost } = await withBlob(t, await scratch(t))
  const stream = await blobs.read(digest)
  await truncate(path, MIB)
  await blobs.remove(digest)
  await blobs.put(bytes, digest)
  await assert.rejects(readAll(stream), error => isCode(error, 'DATA_DAMAGED'))
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  assert.deepEqual(lost, [])
})

test('storing a blob again mends a file that has rotted unseen', async t => {
  const { blobs, bytes, digest, path } = await withBlob(t, await scratch(t))
  const push = async () => {
    const partial = await blobs.partial('again', 'sha256')
    await partial.append(bytes)
    await partial.commit(digest)
  }
  for (const mend of [push, () => blobs.put(bytes, digest)]) {
    await writeFile(path, Buffer.alloc(bytes.length))
    await mend()
    assert.deepEqual(await readFile(path), bytes)
  }
  assert.deepEqual(blobs.totals(), { count: 1, bytes: bytes.length })
})

test('a look finds what memory does not know: a file that was removed', async t => {
  const { blobs, bytes, digest, path } = await withBlob(t, await scratch(t))
  assert.deepEqual(await blobs.look(digest), { sizeBytes: bytes.length })
  await rm(path)
  assert.deepEqual(blobs.stat(digest), { sizeBytes: bytes.length })
  assert.equal(await blobs.look(digest), undefined)
  assert.equal(blobs.stat(digest), undefined)
})

test('pushing a blob again mends a file that has been cut short unnoticed', async t => {
  const { blobs, bytes, digest, path, lost } = await withBlob(t, await scratch(t))
  await truncate(path, 100)
  const partial = await blobs.partial('again', 'sha256')
  await partial.append(bytes)
  await partial.commit(digest)
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  assert.deepEqual(lost, [digest], 'the loss is reported, before the repair')
})

test('rot in a small blob is found by its digest, dropped and reported', async t => {
  const { blobs, bytes, digest, path, lost } = await withBlob(t, await scratch(t))
  const rotten = await readFile(path)
  rotten[1000] = (rotten[1000] ?? 0) ^ 1
  await writeFile(path, rotten)
  await assert.rejects(blobs.bytes(digest, 4 * MIB), error => isCode(error, 'BLOB_UNKNOWN'))
  assert.equal(blobs.stat(digest), undefined)
  assert.deepEqual(lost, [digest])
  await blobs.put(bytes, digest)
  assert.deepEqual(await blobs.bytes(digest, 4 * MIB), bytes)
  await assert.rejects(blobs.bytes(digest, 10), error => isCode(error, 'SIZE_INVALID'))
})

test('a stream destroyed half-way closes its file', async t => {
  const { blobs, digest } = await withBlob(t, await scratch(t))
  const stream = await blobs.read(digest)
  await once(stream, 'readable')
  stream.destroy()
  await once(stream, 'close')
  assert.ok(blobs.stat(digest))
})

test('files of other names among the blobs are left alone and are no blobs', async t => {
  const dataDir = await scratch(t)
  const { blobs, digest } = await withBlob(t, dataDir)
  await blobs.close()
  const { blobs: directory } = layoutOf(dataDir)
  await writeFile(join(directory, 'sha256', 'README'), 'not a shard')
  await writeFile(join(directory, 'sha256', digest.slice(7, 9), 'note'), 'not a blob')
  const misplaced = digest.slice(7).replace(/^../, digest.startsWith('sha256:00') ? '11' : '00')
  await writeFile(join(directory, 'sha256', digest.slice(7, 9), misplaced), 'wrong shard')
  const again = await openBlobs(t, dataDir)
  assert.deepEqual([...again.digests()], [digest])
})

test('a second process is told that the data directory is in use', async t => {
  const dataDir = await scratch(t)
  const first = await openBlobs(t, dataDir)
  const second = Blobs.open({ dataDir, log: silentLog, lockWaitMs: 0 })
  await assert.rejects(second, error => isCode(error, 'DATA_LOCKED'))
  const patient = Blobs.open({ dataDir, log: silentLog })
  await first.close()
  await (await patient).close()
})

test('closing twice is the same as once', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  await blobs.close()
  await blobs.close()
  const digest = parseDigest(`sha256:${'0'.repeat(64)}`)
  assert.equal(blobs.stat(digest), undefined)
})

async function withBlob(t: Parameters<typeof openBlobs>[0], dataDir: string) {
  const blobs = await openBlobs(t, dataDir)
  const bytes = someBytes(3 * MIB)
  const digest = digestOf(bytes)
  await blobs.put(bytes, digest)
  const lost: Digest[] = []
  blobs.onLost(which => lost.push(which))
  return { blobs, bytes, digest, lost, path: blobPath(layoutOf(dataDir), digest) }
}
