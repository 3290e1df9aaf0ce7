import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { UploadGrowth, UploadOutcome } from '../../src/store/upload-tap.ts'
import { Uploads } from '../../src/store/uploads.ts'
import { MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'

const bytes = someBytes(2 * MIB + 9)
const digest = digestOf(bytes)

async function open(t: TestContext, dataDir?: string) {
  const directory = dataDir ?? (await scratch(t))
  const blobs = await openBlobs(t, directory)
  const uploads = await Uploads.open({
    ...{ dataDir: directory, blobs, clock: systemClock, log: silentLog }
  })
  t.after(() => uploads.close())
  const growths: UploadGrowth[] = []
  const outcomes: UploadOutcome[] = []
  uploads.tap.onGrown((_upload, growth) => growths.push(growth))
  uploads.tap.onEnded((_upload, outcome) => outcomes.push(outcome))
  return { dataDir: directory, blobs, uploads, growths, outcomes }
}

async function* inChunks(...chunks: readonly Buffer[]): AsyncGenerator<Buffer> {
  yield* chunks
}

test('an upload is heard of from its first body to its end, and read while it comes', async t => {
  const { uploads, growths, outcomes } = await open(t)
  const upload = await uploads.create('some/repository')
  const read: Buffer[] = []
  uploads.tap.onGrown((_upload, { writtenBytes }) => {
    if (writtenBytes < bytes.length) return
    const stream = uploads.read(upload.id, { start: MIB, end: writtenBytes })
    void readAll(stream).then(all => read.push(all))
  })
  await uploads.append(upload, inChunks(bytes.subarray(0, MIB), bytes.subarray(MIB)), {
    lengthBytes: bytes.length
  })
  assert.deepEqual(growths[0], { writtenBytes: 0, declaredBytes: bytes.length })
  assert.deepEqual(growths.at(-1), { writtenBytes: bytes.length, declaredBytes: bytes.length })
  const range = { start: 5, end: MIB }
  const hash = createHash('sha256').update(bytes.subarray(5, MIB)).digest()
  assert.deepEqual(await uploads.read(upload.id, range).sha256(), hash)
  assert.throws(
    () => uploads.read(upload.id, { start: 0, end: bytes.length + 1 }),
    error => isCode(error, 'RANGE_INVALID')
  )
  const reading = uploads.read(upload.id, { start: 0, end: bytes.length })
  await uploads.finish(upload, digest)
  assert.deepEqual(await readAll(reading), bytes, 'what is being read is read to its end')
  assert.deepEqual(read, [bytes.subarray(MIB)])
  assert.deepEqual(outcomes, [{ kind: 'blob', digest, sizeBytes: bytes.length }])
  assert.throws(
    () => uploads.read(upload.id, range),
    error => isCode(error, 'BLOB_UPLOAD_UNKNOWN')
  )
})

test('a body of unknown length says so, and one that goes on says where it will end', async t => {
  const { uploads, growths } = await open(t)
  const upload = await uploads.create('some/repository')
  await uploads.append(upload, inChunks(bytes.subarray(0, MIB)))
  assert.deepEqual(growths.at(-1), { writtenBytes: MIB })
  await uploads.append(upload, inChunks(bytes.subarray(MIB)), { lengthBytes: MIB + 9 })
  assert.deepEqual(growths.at(-1), { writtenBytes: bytes.length, declaredBytes: bytes.length })
})

test('an upload that is cancelled, or is not what it was said to be, is gone', async t => {
  const { uploads, outcomes } = await open(t)
  const cancelled = await uploads.create('some/repository')
  await uploads.cancel(cancelled)
  const wrong = await uploads.create('some/repository')
  await uploads.append(wrong, inChunks(bytes.subarray(1)))
  await assert.rejects(uploads.finish(wrong, digest))
  assert.deepEqual(outcomes, [{ kind: 'gone' }, { kind: 'gone' }])
})

test('an upload from before a restart is heard of when it goes on', async t => {
  const first = await open(t)
  const begun = await first.uploads.create('some/repository')
  await first.uploads.append(begun, inChunks(bytes.subarray(0, MIB)))
  await first.uploads.close()
  await first.blobs.close()
  assert.deepEqual(first.outcomes, [], 'it has not ended')

  const { uploads, growths } = await open(t, first.dataDir)
  const upload = uploads.get('some/repository', begun.id)
  assert.deepEqual(growths, [])
  await uploads.append(upload, inChunks(bytes.subarray(MIB)))
  assert.deepEqual(growths[0], { writtenBytes: MIB })
})

test('no more of a body is read than its pacer lets through', async t => {
  const { uploads } = await open(t)
  const upload = await uploads.create('some/repository')
  const turns = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const paced = Promise.withResolvers<void>()
  const offsets: number[] = []
  uploads.tap.setPacer(({ offset }) => {
    offsets.push(offset)
    paced.resolve()
    return turns[offsets.length - 1]?.promise
  })
  let pulled = 0
  async function* body() {
    for (const chunk of [100, 200, 300, 400]) {
      pulled += 1
      yield bytes.subarray(0, chunk)
    }
  }
  const appended = uploads.append(upload, body())
  await paced.promise
  await new Promise(setImmediate)
  assert.equal(pulled, 1)
  for (const turn of turns) turn.resolve()
  assert.equal(await appended, 1_000)
  assert.deepEqual(offsets, [100, 300, 600, 1_000])
})
