import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { pino } from 'pino'
import { systemClock } from '../../src/clock.ts'
import { type Digest, digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Blobs } from '../../src/store/blobs.ts'
import { blobPath, layoutOf } from '../../src/store/layout.ts'
import { Pace } from '../../src/store/pace.ts'
import { Scrub } from '../../src/store/scrub.ts'
import { MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'

const eager = async () => undefined

test('a check finds a flipped byte, a cut file and a missing one, and lets the sound be', async t => {
  const { blobs, dataDir, digests } = await open(t, 4)
  const [sound, flipped, cut, missing] = digests as [Digest, Digest, Digest, Digest]
  const lost: Digest[] = []
  blobs.onLost(digest => lost.push(digest))
  await flip(dataDir, flipped)
  await truncate(pathOf(dataDir, cut), 10)
  await rm(pathOf(dataDir, missing))
  assert.equal(await blobs.check(sound, eager), 'sound')
  for (const digest of [flipped, cut, missing]) {
    assert.equal(await blobs.check(digest, eager), 'damaged')
    assert.equal(blobs.stat(digest), undefined)
    assert.equal(await blobs.check(digest, eager), 'gone')
  }
  assert.deepEqual(lost, [flipped, cut, missing])
})

test('rot that peers heal is a warning: no operator must act', async t => {
  const dataDir = await scratch(t)
  const lines: { level: string; msg: string }[] = []
  const log = pino(
    { formatters: { level: level => ({ level }) } },
    { write: line => lines.push(JSON.parse(line)) }
  )
  const blobs = await Blobs.open({ dataDir, log })
  t.after(() => blobs.close())
  const bytes = someBytes(100)
  await blobs.put(bytes, digestOf(bytes))
  await flip(dataDir, digestOf(bytes))
  await blobs.check(digestOf(bytes), eager)
  const told = lines.filter(({ msg }) => msg === 'damaged blob dropped')
  assert.deepEqual(
    told.map(({ level }) => level),
    ['warn']
  )
})

test('a reader of a blob that is found rotten gets no further byte', async t => {
  const dataDir = await scratch(t)
  const blobs = await openBlobs(t, dataDir)
  const bytes = someBytes(8 * MIB)
  const digest = digestOf(bytes)
  await blobs.put(bytes, digest)
  const stream = await blobs.read(digest)
  await once(stream, 'readable')
  await flip(dataDir, digest)
  assert.equal(await blobs.check(digest, eager), 'damaged')
  await assert.rejects(readAll(stream), error => isCode(error, 'DATA_DAMAGED'))
  await assert.rejects(blobs.read(digest), error => isCode(error, 'BLOB_UNKNOWN'))
  // A sound one that comes after is another matter.
  await blobs.put(bytes, digest)
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
})

test('scrubbing goes over all that is held and drops what is damaged', async t => {
  const { blobs, dataDir, digests } = await open(t, 5)
  const rotten = digests[3] as Digest
  await flip(dataDir, rotten)
  const lost = Promise.withResolvers<Digest>()
  blobs.onLost(lost.resolve)
  scrub(t, blobs, dataDir).start()
  assert.equal(await lost.promise, rotten)
})

test('a scrub that is interrupted goes on where it was, and round again after the end', async t => {
  const { blobs, dataDir, digests } = await open(t, 6)
  const [first, second] = digests as [Digest, Digest]
  const last = digests.at(-1) as Digest
  await writeFile(join(dataDir, 'scrub.place'), `${first}\n`)
  const lost: Digest[] = []
  const both = Promise.withResolvers<void>()
  blobs.onLost(digest => {
    if (lost.push(digest) === 3) both.resolve()
  })
  for (const digest of [first, second, last]) await flip(dataDir, digest)
  scrub(t, blobs, dataDir).start()
  await both.promise
  assert.deepEqual(lost, [second, last, first])
})

test('scrubbing notes its place as it goes', async t => {
  const { blobs, dataDir } = await open(t, 1_001)
  const started = Promise.withResolvers<void>()
  let read = 0
  const running = scrub(t, blobs, dataDir, () => {
    if (++read === 1_001) started.resolve()
  })
  running.start()
  await started.promise
  const place = await readFile(join(dataDir, 'scrub.place'), 'utf8').catch(() => '')
  assert.equal(place.trim(), [...blobs.digests()].sort()[999])
})

test('a pace lets through what has been earned and makes the rest wait', async () => {
  const clock = { now: () => 0, monotonic: () => 0 }
  const pace = new Pace(1_000, clock)
  const { signal } = new AbortController()
  await pace.take(250, signal)
  const stop = new AbortController()
  // On a clock that stands still this would have to wait for ever.
  const waiting = pace.take(1, stop.signal)
  stop.abort()
  await assert.rejects(waiting, { name: 'AbortError' })
})

async function open(t: TestContext, count: number) {
  const dataDir = await scratch(t)
  const blobs = await openBlobs(t, dataDir)
  for (let seed = 1; seed <= count; seed++) {
    const bytes = someBytes(100, seed)
    await blobs.put(bytes, digestOf(bytes))
  }
  return { blobs, dataDir, digests: [...blobs.digests()].sort() }
}

/** As fast as it can, round after round. */
function scrub(t: TestContext, blobs: Blobs, dataDir: string, onChecked = () => {}): Scrub {
  const running = new Scrub({
    ...{ dataDir, blobs, clock: systemClock, log: silentLog, onChecked },
    ...{ bytesPerSecond: 1e12, roundMs: 1, firstAfterMs: 1 }
  })
  t.after(() => running.close())
  return running
}

function pathOf(dataDir: string, digest: Digest): string {
  return blobPath(layoutOf(dataDir), digest)
}

async function flip(dataDir: string, digest: Digest): Promise<void> {
  const bytes = await readFile(pathOf(dataDir, digest))
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1
  await writeFile(pathOf(dataDir, digest), bytes)
}
