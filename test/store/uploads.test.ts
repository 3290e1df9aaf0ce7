import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Clock } from '../../src/clock.ts'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import type { Disk } from '../../src/store/disk.ts'
import { layoutOf } from '../../src/store/layout.ts'
import { Uploads } from '../../src/store/uploads.ts'
import { MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'
import { systemError, TestDisk } from './test-disk.ts'

const bytes = someBytes(2 * MIB + 9)
const digest = digestOf(bytes)

test('a blob is pushed in one body', async t => {
  const { uploads, blobs, partial } = await open(t)
  const upload = await uploads.create('some/repository')
  assert.equal(upload.offset, 0)
  assert.equal(await uploads.append(upload, body(bytes)), bytes.length)
  assert.deepEqual(await uploads.finish(upload, digest), { sizeBytes: bytes.length })
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  assert.throws(() => uploads.get('some/repository', upload.id), unknownUpload)
  assert.deepEqual(await readdir(partial), [])
})

test('a blob of no bytes needs no body', async t => {
  const { uploads, blobs } = await open(t)
  const upload = await uploads.create('some/repository')
  const nothing = digestOf(Buffer.alloc(0))
  await uploads.finish(upload, nothing)
  assert.deepEqual(blobs.stat(nothing), { sizeBytes: 0 })
})

test('chunks must follow on each other; one that does not leaves the session as it is', async t => {
  const { uploads } = await open(t)
  const upload = await uploads.create('some/repository')
  await uploads.append(upload, body(bytes.subarray(0, 1000)), { start: 0, lengthBytes: 1000 })
  for (const start of [0, 999, 1001]) {
    const misplaced = uploads.append(upload, body(bytes.subarray(start)), { start })
    await assert.rejects(misplaced, error => isCode(error, 'RANGE_INVALID'))
    assert.equal(uploads.get('some/repository', upload.id).offset, 1000)
  }
  await uploads.append(upload, body(bytes.subarray(1000)), { start: 1000 })
  await uploads.finish(upload, digest)
})

test('a second writer is turned away while the first is at work', async t => {
  const { uploads } = await open(t)
  const upload = await uploads.create('some/repository')
  const slow = new PassThrough()
  const first = uploads.append(upload, slow)
  const busy = (error: unknown) => isCode(error, 'BLOB_UPLOAD_INVALID')
  await assert.rejects(uploads.append(upload, body(bytes), { start: 0 }), busy)
  await assert.rejects(uploads.finish(upload, digest), busy)
  slow.end(bytes)
  assert.equal(await first, bytes.length)
  await uploads.finish(upload, digest)
})

test('a body of another length than declared is refused, and kept as far as declared', async t => {
  const { uploads } = await open(t)
  const upload = await uploads.create('some/repository')
  const wrong = (error: unknown) => isCode(error, 'SIZE_INVALID')
  await assert.rejects(uploads.append(upload, body(bytes), { lengthBytes: 70_000 }), wrong)
  assert.equal(upload.offset, 70_000)
  const short = body(bytes.subarray(70_000, 70_010))
  await assert.rejects(uploads.append(upload, short, { lengthBytes: 11 }), wrong)
  assert.equal(upload.offset, 70_010)
  await uploads.append(upload, body(bytes.subarray(70_010)))
  await uploads.finish(upload, digest)
})

test('an upload that breaks off goes on at the stored offset, also after a restart', async t => {
  const { dataDir, uploads, blobs } = await open(t)
  const upload = await uploads.create('some/repository')
  await assert.rejects(uploads.append(upload, broken(bytes.subarray(0, MIB))), /went away/)
  assert.equal(uploads.get('some/repository', upload.id).offset, MIB)
  await uploads.close()
  await blobs.close()

  const next = await open(t, { dataDir })
  const resumed = next.uploads.get('some/repository', upload.id)
  assert.equal(resumed.offset, MIB)
  await next.uploads.append(resumed, body(bytes.subarray(MIB)), { start: MIB })
  await next.uploads.finish(resumed, digest)
  assert.deepEqual(await readAll(await next.blobs.read(digest)), bytes)
})

test('what was answered for is in the file at once, so that a kill cannot take it', async t => {
  const disk = new TestDisk()
  const { uploads, partial } = await open(t, { disk })
  const upload = await uploads.create('some/repository')
  disk.beforeWrite = async () => {
    for (let turn = 0; turn < 20; turn += 1) await setImmediate()
  }
  await uploads.append(upload, body(bytes.subarray(0, 12_345)))
  const file = await readFile(join(partial, `upload-${upload.id}`))
  assert.deepEqual(file, bytes.subarray(0, 12_345))
})

test('a wrong digest ends the session and stores nothing', async t => {
  const { uploads, blobs, partial } = await open(t)
  const upload = await uploads.create('some/repository')
  await uploads.append(upload, body(bytes.subarray(1)))
  await assert.rejects(uploads.finish(upload, digest), error => isCode(error, 'DIGEST_INVALID'))
  await assert.rejects(uploads.finish(upload, digest), unknownUpload)
  assert.equal(blobs.totals().count, 0)
  assert.deepEqual(await readdir(partial), [])
})

test('a session is known only in its own repository', async t => {
  const { uploads } = await open(t)
  const upload = await uploads.create('some/repository')
  assert.equal(uploads.get('some/repository', upload.id).id, upload.id)
  assert.throws(() => uploads.get('other/repository', upload.id), unknownUpload)
  assert.throws(() => uploads.get('some/repository', '../../etc/passwd'), unknownUpload)
})

test('a cancelled session is gone, and a body still coming in fails', async t => {
  const { uploads, partial } = await open(t)
  const upload = await uploads.create('some/repository')
  const slow = new PassThrough()
  const failed = assert.rejects(uploads.append(upload, slow), unknownUpload)
  slow.write(bytes)
  await uploads.cancel(upload)
  slow.end(bytes)
  await failed
  await assert.rejects(uploads.cancel(upload), unknownUpload)
  assert.deepEqual(await readdir(partial), [])
})

test('the number of sessions is bounded', async t => {
  const { uploads } = await open(t, { maxSessions: 3 })
  const results = await Promise.allSettled([1, 2, 3, 4, 5].map(() => uploads.create('some/repo')))
  const refused = results.filter(result => result.status === 'rejected')
  assert.equal(refused.length, 2)
  for (const { reason } of refused) assert.ok(isCode(reason, 'TOOMANYREQUESTS'))
  const [made] = results
  if (made?.status === 'fulfilled') await uploads.cancel(made.value)
  await uploads.create('some/repo')
})

test('at start sessions without bytes, bytes without a session and torn sessions are removed', async t => {
  const { dataDir, uploads, blobs, partial } = await open(t)
  const kept = await uploads.create('some/repository')
  await uploads.close()
  await blobs.close()
  const torn = '{"version":1,"id":"b","repo'
  const strange = '{"version":2,"id":"d","repository":"x"}'
  const other = '{"version":1,"id":"z","repository":"x"}'
  const files = { a: '{"version":1,"id":"a","repository":"x"}', b: torn, d: strange, e: other }
  for (const [id, text] of Object.entries(files)) {
    await writeFile(join(partial, `upload-${id}.json`), text)
    if (id !== 'a') await writeFile(join(partial, `upload-${id}`), 'bytes')
  }
  await writeFile(join(partial, 'upload-c'), 'bytes')
  await writeFile(join(partial, 'a-download'), 'bytes')

  const next = await open(t, { dataDir })
  assert.equal(next.uploads.get('some/repository', kept.id).offset, 0)
  const left = ['a-download', `upload-${kept.id}`, `upload-${kept.id}.json`]
  assert.deepEqual((await readdir(partial)).sort(), left)
})

test('a disk that is full or fails ends the session and gives its space back', async t => {
  for (const [system, code] of [
    ['ENOSPC', 'DISK_FULL'],
    ['EIO', 'DISK_FAILED']
  ] as const) {
    const disk = new TestDisk()
    const { uploads, partial } = await open(t, { disk })
    const upload = await uploads.create('some/repository')
    disk.refuse = step => (step.kind === 'write' ? systemError(system) : undefined)
    await assert.rejects(uploads.append(upload, body(bytes)), error => isCode(error, code))
    assert.throws(() => uploads.get('some/repository', upload.id), unknownUpload)
    assert.deepEqual(await readdir(partial), [])
    await assert.rejects(uploads.create('some/repository'), error => isCode(error, code))
    assert.deepEqual(await readdir(partial), [])
    disk.refuse = () => undefined
    const again = await uploads.create('some/repository')
    await uploads.append(again, body(bytes))
    await uploads.finish(again, digest)
  }
})

test('a blob may be closed under sha512, announced or not', async t => {
  const { uploads, blobs } = await open(t)
  const long = digestOf(bytes, 'sha512')
  for (const options of [{}, { algorithm: 'sha512' as const }]) {
    const upload = await uploads.create('some/repository', options)
    await uploads.append(upload, body(bytes))
    await uploads.finish(upload, long)
    assert.deepEqual(await readAll(await blobs.read(long)), bytes)
    await blobs.remove(long)
  }
})

test('a large blob is closed under another algorithm only when that was said before', async t => {
  const limited = { maxRehashBytes: bytes.length - 1 }
  const { dataDir, blobs, uploads } = await open(t, limited)
  const long = digestOf(bytes, 'sha512')
  const unannounced = await uploads.create('some/repository')
  await uploads.append(unannounced, body(bytes))
  await assert.rejects(uploads.finish(unannounced, long), error => {
    assert.match(String(error), /digest-algorithm=sha512/)
    return isCode(error, 'DIGEST_INVALID')
  })
  const late = await uploads.create('some/repository')
  await uploads.append(late, body(bytes), { algorithm: 'sha512' })
  await uploads.finish(late, long)
  await blobs.remove(long)

  const announced = await uploads.create('some/repository', { algorithm: 'sha512' })
  await uploads.append(announced, body(bytes.subarray(0, MIB)))
  await uploads.close()
  await blobs.close()
  const next = await open(t, { ...limited, dataDir })
  const resumed = next.uploads.get('some/repository', announced.id)
  await next.uploads.append(resumed, body(bytes.subarray(MIB)), { start: MIB })
  await next.uploads.finish(resumed, long)
  assert.notEqual(next.blobs.stat(long), undefined)
})

test('a session keeps its owner, of whom there may be only so many sessions', async t => {
  const { dataDir, blobs, uploads } = await open(t, { maxSessionsPerOwner: 2 })
  const mine = await uploads.create('some/repository', { owner: 'ann' })
  await uploads.create('some/repository', { owner: 'ann' })
  const tooMany = uploads.create('some/repository', { owner: 'ann' })
  await assert.rejects(tooMany, error => isCode(error, 'TOOMANYREQUESTS'))
  await uploads.create('some/repository', { owner: 'bob' })
  await uploads.close()
  await blobs.close()
  const next = await open(t, { dataDir })
  assert.equal(next.uploads.get('some/repository', mine.id).owner, 'ann')
})

interface Opened {
  readonly dataDir: string
  readonly blobs: Blobs
  readonly uploads: Uploads
  readonly partial: string
}

interface Settings {
  readonly dataDir?: string
  readonly disk?: Disk
  readonly clock?: Clock
  readonly idleTimeoutMs?: number
  readonly maxSessions?: number
  readonly maxSessionsPerOwner?: number
  readonly maxRehashBytes?: number
}

const STOPPED: Clock = { now: () => 0, monotonic: () => 0 }

async function open(t: TestContext, settings: Settings = {}): Promise<Opened> {
  const dataDir = settings.dataDir ?? (await scratch(t))
  const blobs = await openBlobs(t, dataDir, settings.disk)
  const options = { clock: STOPPED, ...settings, dataDir, blobs, log: silentLog }
  const uploads = await Uploads.open(options)
  t.after(() => uploads.close())
  return { dataDir, blobs, uploads, partial: layoutOf(dataDir).partial }
}

async function* body(bytes: Buffer): AsyncIterable<Buffer> {
  for (let at = 0; at < bytes.length; at += 65_536) yield bytes.subarray(at, at + 65_536)
}

async function* broken(bytes: Buffer): AsyncIterable<Buffer> {
  yield* body(bytes)
  throw new Error('the client went away')
}

function unknownUpload(error: unknown): boolean {
  return isCode(error, 'BLOB_UPLOAD_UNKNOWN')
}
