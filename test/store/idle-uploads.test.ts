import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { layoutOf } from '../../src/store/layout.ts'
import { Uploads, type UploadsOptions } from '../../src/store/uploads.ts'
import { openBlobs, scratch, someBytes } from './scratch.ts'

const bytes = someBytes(1000)

test('at the bound, a session left alone for a minute gives way to a new one', async t => {
  let nowMs = 0
  const clock = { now: () => 0, monotonic: () => nowMs }
  const { uploads } = await open(t, { clock, maxSessions: 2 })
  const abandoned = await uploads.create('some/repository')
  nowMs = 50_000
  const recent = await uploads.create('some/repository')
  nowMs = 70_000
  await uploads.create('some/repository')
  assert.throws(() => uploads.get('some/repository', abandoned.id), unknownUpload)
  assert.equal(uploads.get('some/repository', recent.id).id, recent.id)
  await assert.rejects(uploads.create('some/repository'), { code: 'TOOMANYREQUESTS' })
})

test('an idle session is removed after its time, and one that moves is not', async t => {
  let nowMs = 0
  const clock = { now: () => 0, monotonic: () => nowMs }
  const { uploads, partial } = await open(t, { clock, idleTimeoutMs: 1000 })
  const idle = await uploads.create('some/repository')
  const moving = await uploads.create('some/repository')
  nowMs = 600
  await uploads.append(moving, body(bytes))
  nowMs = 1200
  await uploads.expire()
  assert.throws(() => uploads.get('some/repository', idle.id), unknownUpload)
  assert.equal(uploads.get('some/repository', moving.id).offset, bytes.length)
  assert.equal((await readdir(partial)).length, 2)
})

test('a session whose client waits for us is not idle, however long it takes', async t => {
  let nowMs = 0
  const clock = { now: () => 0, monotonic: () => nowMs }
  const { uploads } = await open(t, { clock, idleTimeoutMs: 1000 })
  const paced = Promise.withResolvers<void>()
  const heldBack = Promise.withResolvers<void>()
  uploads.tap.setPacer(() => {
    heldBack.resolve()
    return paced.promise
  })
  const upload = await uploads.create('some/repository')
  const appended = uploads.append(upload, body(bytes))
  await heldBack.promise
  nowMs = 5000
  await uploads.expire()
  paced.resolve()
  assert.equal(await appended, bytes.length)
  nowMs = 5999
  await uploads.expire()
  assert.equal(uploads.get('some/repository', upload.id).offset, bytes.length)
  nowMs = 6000
  await uploads.expire()
  assert.throws(() => uploads.get('some/repository', upload.id), unknownUpload)
})

async function open(t: TestContext, settings: Omit<UploadsOptions, 'dataDir' | 'blobs' | 'log'>) {
  const dataDir = await scratch(t)
  const blobs = await openBlobs(t, dataDir)
  const uploads = await Uploads.open({ ...settings, dataDir, blobs, log: silentLog })
  t.after(() => uploads.close())
  return { uploads, partial: layoutOf(dataDir).partial }
}

async function* body(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes
}

function unknownUpload(error: unknown): boolean {
  return isCode(error, 'BLOB_UPLOAD_UNKNOWN')
}
