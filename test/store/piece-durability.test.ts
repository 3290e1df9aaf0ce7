import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Blobs } from '../../src/store/blobs.ts'
import { layoutOf } from '../../src/store/layout.ts'
import type { PieceFile } from '../../src/store/piece-file.ts'
import { incompleteBlobs, openBlobs, readAll, scratch, someBytes } from './scratch.ts'
import { type PowerCut, type Step, systemError, TestDisk } from './test-disk.ts'

const pieceBytes = 16 * 1024
const order = [3, 0, 1, 2]
const bytes = someBytes(order.length * pieceBytes - 100)
const digest = digestOf(bytes)
/** Every second piece makes a portion. */
const shape = { pieceBytes, sizeBytes: bytes.length, syncEveryBytes: 2 * pieceBytes }

/** Most of the time is spent on waiting for the disk. */
const AT_ONCE = 10

const CUTS: readonly (PowerCut | 'kill')[] = [
  'kill',
  { names: 'kept', bytes: 'dropped' },
  { names: 'kept', bytes: 'torn' },
  { names: 'dropped', bytes: 'kept' },
  { names: 'dropped', bytes: 'zeroed' }
]

for (const cut of CUTS) {
  const what = cut === 'kill' ? 'kill -9' : `power cut (names ${cut.names}, bytes ${cut.bytes})`
  test(`a ${what} at any step costs no more than the pieces that were not durable`, async t => {
    const steps = await stepsOfAll(t)
    for (let from = 0; from <= steps; from += AT_ONCE) {
      const batch = Array.from({ length: AT_ONCE }, (_, index) => from + index)
      await Promise.all(batch.map(step => dieAt(t, step, cut)))
    }
  })
}

test('a failed sync is never retried: the pieces are gone', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const blobs = await openBlobs(t, dataDir, disk)
  let failures = 0
  disk.refuse = step => {
    if (step.kind !== 'datasync') return undefined
    failures += 1
    return systemError('EIO')
  }
  await assert.rejects(fetchAll(blobs, []), error => isCode(error, 'DISK_FAILED'))
  assert.equal(failures, 1)
  assert.equal(blobs.stat(digest), undefined)
  assert.deepEqual(await readdir(layoutOf(dataDir).partial), [])
})

async function dieAt(t: TestContext, step: number, cut: PowerCut | 'kill'): Promise<void> {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const dying = await Blobs.open({ dataDir, disk, log: silentLog })
  disk.dieAt(disk.steps.length + step)
  const written: number[] = []
  const survived = await fetchAll(dying, written).then(
    () => true,
    () => false
  )
  await dying.close()
  const kept = cut === 'kill' ? written : durableIn(disk.done)
  if (cut !== 'kill') await disk.losePower(cut)
  await assertGoesOn(t, dataDir, kept, survived)
}

/** How many steps it takes when nothing goes wrong. */
async function stepsOfAll(t: TestContext): Promise<number> {
  const disk = new TestDisk()
  const blobs = await openBlobs(t, await scratch(t), disk)
  const before = disk.steps.length
  await fetchAll(blobs, [])
  return disk.steps.length - before
}

async function fetchAll(blobs: Blobs, written: number[]): Promise<void> {
  const pieces = await blobs.pieces('some-blob', shape)
  for (const piece of order) {
    await put(pieces, piece)
    written.push(piece)
  }
  await pieces.commit(digest)
}

function put(pieces: PieceFile, piece: number): Promise<void> {
  const part = bytes.subarray(piece * pieceBytes, (piece + 1) * pieceBytes)
  return pieces.write(piece, part, createHash('sha256').update(part).digest())
}

/** The pieces that were written before bytes, claims and names were synced, in that order. */
function durableIn(done: TestDisk['done']): readonly number[] {
  const isBytes = ({ path }: Step) => path.endsWith('pieces-some-blob')
  const isClaims = ({ path }: Step) => path.endsWith('.claims')
  const named = done.some(({ kind, path }) => kind === 'sync' && path.endsWith('partial'))
  const claims = done.findLast(step => step.kind === 'datasync' && isClaims(step))
  if (!named || claims === undefined) return []
  const synced = done
    .slice(0, claims.since)
    .findLast(step => step.kind === 'datasync' && isBytes(step))
  const before = done.slice(0, synced?.since)
  return order.slice(0, before.filter(step => step.kind === 'write' && isBytes(step)).length)
}

async function assertGoesOn(
  t: TestContext,
  dataDir: string,
  kept: readonly number[],
  survivedAll: boolean
): Promise<void> {
  assert.deepEqual(await incompleteBlobs(dataDir), [])
  const blobs = await openBlobs(t, dataDir)
  if (survivedAll) assert.ok(blobs.stat(digest), 'what was committed is held')
  if (blobs.stat(digest) === undefined) {
    const pieces = await blobs.pieces('some-blob', shape)
    for (const piece of kept) assert.ok(pieces.has(piece), `piece ${piece} is lost`)
    for (const piece of order) await put(pieces, piece)
    await pieces.commit(digest)
  }
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  await blobs.close()
}
