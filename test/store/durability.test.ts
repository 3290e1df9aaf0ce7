import assert from 'node:assert/strict'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Blobs } from '../../src/store/blobs.ts'
import { CheckedBlob } from '../../src/store/checked-blob.ts'
import { SYNC_EVERY_BYTES } from '../../src/store/writer.ts'
import { incompleteBlobs, MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'
import { type PowerCut, type Step, systemError, TestDisk } from './test-disk.ts'

const bytes = someBytes(300_000)
const digest = digestOf(bytes)
const half = bytes.length / 2

test('a blob is written, synced, renamed and its directory synced, in that order', async t => {
  const disk = new TestDisk()
  const blobs = await openBlobs(t, await scratch(t), disk)
  const before = disk.steps.length
  let stepsWhenHeld = 0
  blobs.onHeld(() => {
    stepsWhenHeld = disk.steps.length
  })
  await push(blobs)
  const kinds = disk.steps.slice(before).map(step => step.kind)
  assert.equal(stepsWhenHeld, disk.steps.length, 'told only when all is durable')
  assert.deepEqual(
    kinds.filter((kind, at) => kind !== kinds[at - 1]),
    ['open', 'write', 'datasync', 'mkdir', 'sync', 'rename', 'sync']
  )
  const [, last] = disk.steps.slice(-2)
  assert.match(last?.path ?? '', /blobs\/sha256\/[0-9a-f]{2}$/)
})

const CUTS: readonly (PowerCut | 'kill')[] = [
  'kill',
  { names: 'kept', bytes: 'dropped' },
  { names: 'kept', bytes: 'zeroed' },
  { names: 'dropped', bytes: 'kept' },
  { names: 'dropped', bytes: 'zeroed' }
]

for (const cut of CUTS) {
  const what = cut === 'kill' ? 'kill -9' : `power cut (names ${cut.names}, bytes ${cut.bytes})`
  test(`a ${what} at any step leaves no incomplete blob and loses none that was answered for`, async t => {
    for await (const { dataDir, step, answered } of deaths(t, cut, push)) {
      // Level syncs nothing here, so all of the index may be lost as well.
      const losesIndex = cut !== 'kill' && step % 2 === 1
      if (losesIndex) await rm(join(dataDir, 'index'), { recursive: true })
      await assertSound(t, dataDir, answered)
      assert.ok(step < 30)
    }
  })
}

test('of many small blobs each is synced before any has its name, and all names before any is held', async t => {
  const disk = new TestDisk()
  const blobs = await openBlobs(t, await scratch(t), disk)
  const small = someSmall()
  const before = disk.steps.length
  const stepsWhenHeld: number[] = []
  blobs.onHeld(() => stepsWhenHeld.push(disk.steps.length))
  await blobs.putAll(small)
  const kinds = disk.steps.slice(before).map(step => step.kind)
  assert.ok(kinds.lastIndexOf('datasync') < kinds.indexOf('rename'))
  assert.ok(kinds.lastIndexOf('rename') < kinds.lastIndexOf('sync'))
  assert.equal(kinds.filter(kind => kind === 'datasync').length, small.length)
  const shards = new Set(small.map(each => each.digest.slice(0, 'sha256:ab'.length)))
  assert.equal(kinds.slice(kinds.lastIndexOf('rename') + 1).length, shards.size, 'each name once')
  assert.deepEqual(new Set(stepsWhenHeld), new Set([disk.steps.length]))
  assert.equal(stepsWhenHeld.length, small.length)
  for (const { digest, bytes } of small) assert.deepEqual(await blobs.whole(digest), bytes)
})

for (const cut of CUTS) {
  const what = cut === 'kill' ? 'kill -9' : `power cut (names ${cut.names}, bytes ${cut.bytes})`
  test(`a ${what} at any step of keeping small blobs leaves none incomplete and loses none answered for`, async t => {
    const small = someSmall()
    const keepAll = (blobs: Blobs) => blobs.putAll(small)
    for await (const { dataDir, step, answered } of deaths(t, cut, keepAll)) {
      if (step % 2 === 1) await rm(join(dataDir, 'index'), { recursive: true })
      assert.deepEqual(await incompleteBlobs(dataDir), [])
      const blobs = await openBlobs(t, dataDir)
      if (answered) for (const { digest } of small) assert.ok(blobs.stat(digest))
      await blobs.putAll(small)
      for (const { digest, bytes } of small) assert.deepEqual(await blobs.whole(digest), bytes)
      await blobs.close()
      assert.ok(step < 60)
    }
  })
}

test('when one of many small blobs cannot be synced none of them is kept', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const blobs = await openBlobs(t, dataDir, disk)
  const small = someSmall()
  for (const kind of ['write', 'datasync', 'rename', 'sync'] as const) {
    let left = 2
    disk.refuse = step => {
      if (step.kind !== kind) return undefined
      left -= 1
      return left === 0 ? systemError('EIO') : undefined
    }
    await assert.rejects(blobs.putAll(small), error => isCode(error, 'DISK_FAILED'))
    assert.deepEqual(await filesIn(dataDir), [])
    assert.equal(blobs.totals().count, 0)
  }
  disk.refuse = () => undefined
  await blobs.putAll(small)
  assert.equal(blobs.totals().count, small.length)
})

test('names that a killed process left unsynced are synced before they count as held', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const dying = await Blobs.open({ dataDir, disk, log: silentLog })
  disk.refuse = step => {
    if (step.kind !== 'sync' || !disk.kinds().includes('rename')) return undefined
    disk.dieAt(0)
    return new Error('the process is dead')
  }
  await assert.rejects(push(dying))
  await dying.close()

  const next = new TestDisk()
  const blobs = await openBlobs(t, dataDir, next)
  assert.ok(blobs.stat(digest), 'the rename was done, and nobody took it back')
  assert.equal(next.kinds(path => /sha256\/[0-9a-f]{2}$/.test(path)).join(), 'sync')
  await blobs.close()

  const last = new TestDisk()
  await openBlobs(t, dataDir, last)
  assert.equal(last.kinds(path => /sha256\/[0-9a-f]{2}$/.test(path)).length, 0, 'only once')
})

test('a failed sync is never retried: the bytes are gone and the next push starts anew', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const blobs = await openBlobs(t, dataDir, disk)
  const syncs: readonly ((step: Step) => boolean)[] = [
    step => step.kind === 'datasync',
    step => step.kind === 'sync' && step.path.endsWith('sha256'),
    step => step.kind === 'sync' && /sha256\/[0-9a-f]{2}$/.test(step.path)
  ]
  for (const isBroken of syncs) {
    let failures = 0
    disk.refuse = step => {
      if (!isBroken(step)) return undefined
      failures += 1
      return systemError('EIO')
    }
    await assert.rejects(push(blobs), error => isCode(error, 'DISK_FAILED'))
    assert.equal(failures, 1)
    assert.equal(blobs.stat(digest), undefined)
    assert.deepEqual(await filesIn(dataDir), [])
  }
  disk.refuse = () => undefined
  await push(blobs)
  assert.ok(blobs.stat(digest))
})

test('a full disk is reported as such, and what was written is given back', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const blobs = await openBlobs(t, dataDir, disk)
  disk.refuse = step => (step.kind === 'write' ? systemError('ENOSPC') : undefined)
  const partial = await blobs.partial('a-download', 'sha256')
  await assert.rejects(
    async () => {
      await partial.append(bytes)
      await partial.flush()
    },
    error => isCode(error, 'DISK_FULL')
  )
  await assert.rejects(partial.append(bytes), error => isCode(error, 'DISK_FULL'))
  assert.deepEqual(await filesIn(dataDir), [])
  disk.refuse = () => undefined
  await push(blobs)
})

test('a long blob is synced while it streams, and one failing sync ends it', async t => {
  const dataDir = await scratch(t)
  const disk = new TestDisk()
  const blobs = await openBlobs(t, dataDir, disk)
  const chunk = Buffer.alloc(MIB)
  const partial = await blobs.partial('a-download', 'sha256')
  const chunks = SYNC_EVERY_BYTES / MIB
  for (let sent = 0; sent <= chunks; sent += 1) await partial.append(chunk)
  await partial.flush()
  assert.equal(disk.steps.filter(step => step.kind === 'datasync').length, 1)

  disk.refuse = step => (step.kind === 'datasync' ? systemError('EIO') : undefined)
  await assert.rejects(
    async () => {
      for (let sent = 0; sent < 3 * chunks; sent += 1) await partial.append(chunk)
    },
    error => isCode(error, 'DISK_FAILED')
  )
  assert.deepEqual(await filesIn(dataDir), [])
})

/**
 * Lets a process die at the first step of the disk while it keeps something, at the second, and so
 * on, each time in a new directory, until it has answered before its death.
 */
async function* deaths(
  t: TestContext,
  cut: PowerCut | 'kill',
  keep: (blobs: Blobs) => Promise<unknown>
) {
  for (let step = 0, answered = false; !answered; step += 1) {
    const dataDir = await scratch(t)
    const disk = new TestDisk()
    const dying = await Blobs.open({ dataDir, disk, log: silentLog })
    disk.dieAt(disk.steps.length + step)
    answered = await keep(dying).then(
      () => true,
      () => false
    )
    await dying.close()
    if (cut !== 'kill') await disk.losePower(cut)
    yield { dataDir, step, answered }
  }
}

function someSmall(): CheckedBlob[] {
  return [0, 5_000].map(sizeBytes => {
    const small = someBytes(sizeBytes)
    const blob = CheckedBlob.of(digestOf(small), small)
    assert.ok(blob)
    return blob
  })
}

async function push(blobs: Blobs): Promise<void> {
  const partial = await blobs.partial('a-download', 'sha256')
  await partial.append(bytes.subarray(0, half))
  await partial.append(bytes.subarray(half))
  await partial.commit(digest)
}

async function assertSound(t: TestContext, dataDir: string, answered: boolean): Promise<void> {
  assert.deepEqual(await incompleteBlobs(dataDir), [])
  const blobs = await openBlobs(t, dataDir)
  if (answered) assert.ok(blobs.stat(digest), 'what was answered for is held')
  if (blobs.stat(digest) === undefined) {
    // The download goes on with what is left; if a power cut spoiled that, it starts once more.
    const partial = await blobs.partial('a-download', 'sha256')
    await partial.append(bytes.subarray(partial.offset))
    await partial.commit(digest).catch(() => push(blobs))
  }
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  await blobs.close()
}

async function filesIn(dataDir: string): Promise<string[]> {
  const names: string[] = []
  for (const directory of ['blobs', 'partial']) {
    const entries = await readdir(join(dataDir, directory), {
      recursive: true,
      withFileTypes: true
    })
    names.push(...entries.filter(entry => entry.isFile()).map(entry => entry.name))
  }
  return names
}
