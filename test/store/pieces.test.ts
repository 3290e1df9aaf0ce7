import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { layoutOf } from '../../src/store/layout.ts'
import type { PieceFile } from '../../src/store/piece-file.ts'
import { MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'
import { rotFiles, systemError, TestDisk } from './test-disk.ts'

const pieceBytes = 512 * 1024
const sizeBytes = 3 * MIB + 17
const bytes = someBytes(sizeBytes)
const digest = digestOf(bytes)
/** Every piece once, in no order. */
const order = [3, 0, 6, 5, 1, 4, 2]

test('pieces come in any order and become a blob', async t => {
  const dataDir = await scratch(t)
  const blobs = await openBlobs(t, dataDir)
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  for (const piece of order) {
    assert.equal(pieces.has(piece), false)
    await put(pieces, piece)
    assert.deepEqual(pieces.hashOf(piece), hashOf(piece))
    assert.deepEqual(await readAll(pieces.read(piece)), partOf(piece))
    assert.deepEqual(await pieces.read(piece).sha256(), hashOf(piece))
  }
  assert.equal(pieces.heldBytes, sizeBytes)
  assert.deepEqual(await pieces.commit(digest), { sizeBytes })
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  assert.deepEqual(await readdir(layoutOf(dataDir).partial), [])
})

test('a piece is written once, however often it comes', async t => {
  const disk = new TestDisk()
  const blobs = await openBlobs(t, await scratch(t), disk)
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  const before = disk.kinds(isBytes).length
  await Promise.all([put(pieces, 2), put(pieces, 2)])
  await put(pieces, 2)
  assert.equal(disk.kinds(isBytes).length - before, 1)
})

test('a piece that does not fit is refused, and the others stay', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  await put(pieces, 0)
  for (const [piece, length] of [
    [1, pieceBytes - 1],
    [6, pieceBytes],
    [7, pieceBytes],
    [7, 0]
  ] as const) {
    const wrong = Buffer.alloc(length)
    await assert.rejects(pieces.write(piece, wrong, hashOf(0)), isSizeInvalid)
  }
  assert.deepEqual([...pieces.held()], [[0, hashOf(0)]])
})

test('a blob whose size is not known yet grows, and is held once it is', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const pieces = await blobs.pieces('u-1', { pieceBytes })
  for (const piece of [0, 1, 2, 3, 5, 4]) await put(pieces, piece)
  await assert.rejects(put(pieces, 6), isSizeInvalid, 'only the last piece may be short')
  await assert.rejects(pieces.commit(digest), isSizeInvalid)
  await pieces.setSize(sizeBytes)
  await assert.rejects(pieces.setSize(sizeBytes + 1), isSizeInvalid)
  await assert.rejects(pieces.commit(digest), isSizeInvalid, 'a piece is missing')
  await put(pieces, 6)
  await pieces.commit(digest)
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
})

test('a wrong piece is found at commit, dropped, and nothing else comes again', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  const wrong = Buffer.alloc(pieceBytes)
  for (const piece of order) {
    if (piece === 1) await pieces.write(piece, wrong, hashOf(piece))
    else await put(pieces, piece)
  }
  await assert.rejects(pieces.commit(digest), error => isCode(error, 'DIGEST_INVALID'))
  assert.equal(blobs.stat(digest), undefined)
  await pieces.drop(1)
  assert.equal(pieces.has(1), false)
  assert.throws(
    () => pieces.read(1),
    error => isCode(error, 'BLOB_UNKNOWN')
  )
  await put(pieces, 1)
  await pieces.commit(digest)
})

test('a reader in order gets pieces as they come, and the end once all is verified', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  const stream = pieces.follow({ sizeBytes, start: MIB + 5 })
  const visible = sizeBytes - MIB - (MIB + 5)
  const shown = Promise.withResolvers<void>()
  const got: Buffer[] = []
  const gotAll = (async () => {
    for await (const chunk of stream) {
      got.push(chunk)
      if (Buffer.concat(got).length >= visible) shown.resolve()
    }
  })()
  for (const piece of order) await put(pieces, piece)
  await shown.promise
  assert.equal(Buffer.concat(got).length, visible)
  await pieces.commit(digest)
  await gotAll
  assert.deepEqual(Buffer.concat(got), bytes.subarray(MIB + 5))
})

test('readers in order end when a piece was wrong, when the size is, and when all is given up', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  await put(pieces, 0)
  const misled = pieces.follow({ sizeBytes })
  await Promise.all([
    assert.rejects(readAll(misled), error => isCode(error, 'DATA_DAMAGED')),
    pieces.drop(0)
  ])
  await assert.rejects(readAll(pieces.follow({ sizeBytes: sizeBytes + 1 })), isSizeInvalid)
  const left = pieces.follow({ sizeBytes })
  await Promise.all([
    assert.rejects(readAll(left), error => isCode(error, 'CLOSED')),
    pieces.discard()
  ])
})

test('pieces survive a restart, and only the sound ones count', async t => {
  const dataDir = await scratch(t)
  const before = await openBlobs(t, dataDir)
  const first = await before.pieces('some-blob', { pieceBytes, sizeBytes })
  for (const piece of [5, 0, 3]) await put(first, piece)
  await first.drop(0)
  await before.close()

  const blobs = await openBlobs(t, dataDir)
  assert.deepEqual(await blobs.pieceNames(), ['some-blob'])
  assert.deepEqual(await blobs.partials(), [], 'they are no partial files')
  const again = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  assert.deepEqual([...again.held()].map(([piece]) => piece).sort(), [3, 5])
  await again.close()
  // The middle of the file lies in piece 3.
  assert.equal(await rotFiles(layoutOf(dataDir).partial, /^pieces-some-blob$/), 1)
  const rotten = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  assert.deepEqual([...rotten.held()], [[5, hashOf(5)]])
  for (const piece of order) await put(rotten, piece)
  await rotten.commit(digest)
})

test('pieces of another shape are of no use, and go', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const first = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  await put(first, 0)
  await first.close()
  for (const shape of [{ pieceBytes: 2 * pieceBytes, sizeBytes }, { pieceBytes }]) {
    const other = await blobs.pieces('some-blob', shape)
    assert.equal(other.heldBytes, 0)
    await put(other, 0, shape.pieceBytes)
    await other.close()
  }
})

test('a name is written by one at a time, and removed by nobody meanwhile', async t => {
  const dataDir = await scratch(t)
  const blobs = await openBlobs(t, dataDir)
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  await put(pieces, 3)
  assert.deepEqual(await blobs.pieceNames(), ['some-blob'])
  await assert.rejects(blobs.pieces('some-blob', { pieceBytes }), isUnavailable)
  assert.equal(await blobs.removePieces('some-blob'), false)
  await pieces.close()
  const again = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  assert.ok(again.has(3))
  await again.close()
  assert.equal(await blobs.removePieces('some-blob'), true)
  assert.deepEqual(await readdir(layoutOf(dataDir).partial), [])
})

test('a full disk ends it, and what was written is given back', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const blobs = await openBlobs(t, dataDir, disk)
  const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
  await put(pieces, 0)
  disk.refuse = step => (step.kind === 'write' ? systemError('ENOSPC') : undefined)
  const isFull = (error: unknown) => isCode(error, 'DISK_FULL')
  await assert.rejects(Promise.all([put(pieces, 1), put(pieces, 2)]), isFull)
  await assert.rejects(put(pieces, 3), isFull)
  await assert.rejects(pieces.commit(digest), isFull)
  assert.deepEqual(await readdir(layoutOf(dataDir).partial), [])
})

test('a piece that is being sent is sent to its end, whatever becomes of the file', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  for (const end of ['commit', 'discard'] as const) {
    const pieces = await blobs.pieces('some-blob', { pieceBytes, sizeBytes })
    for (const piece of order) await put(pieces, piece)
    const stream = pieces.read(2)
    await (end === 'commit' ? pieces.commit(digest) : pieces.discard())
    const to = new PassThrough()
    const [sent] = await Promise.all([
      readAll(to),
      stream.sendTo(to, () => {}).then(() => to.end())
    ])
    assert.deepEqual(sent, partOf(2))
  }
})

function put(pieces: PieceFile, piece: number, length = pieceBytes): Promise<void> {
  const part = bytes.subarray(piece * length, (piece + 1) * length)
  return pieces.write(piece, part, createHash('sha256').update(part).digest())
}

function partOf(piece: number): Buffer {
  return bytes.subarray(piece * pieceBytes, (piece + 1) * pieceBytes)
}

function hashOf(piece: number): Buffer {
  return createHash('sha256').update(partOf(piece)).digest()
}

function isBytes(path: string): boolean {
  return path.endsWith('pieces-some-blob')
}

function isSizeInvalid(error: unknown): boolean {
  return isCode(error, 'SIZE_INVALID')
}

function isUnavailable(error: unknown): boolean {
  return isCode(error, 'UNAVAILABLE')
}
