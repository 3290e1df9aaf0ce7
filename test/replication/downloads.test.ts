import assert from 'node:assert/strict'
import { buffer } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import type { Digest } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Downloads } from '../../src/replication/downloads.ts'
import { Sightings } from '../../src/replication/sightings.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import type { Holder } from '../../src/swarm/fetcher.ts'
import { Holders } from '../../src/swarm/holders.ts'
import { HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import { asker, honest, liar, makeBlob, rightHead, startRogue } from '../swarm/peers.ts'
import { openBlobs } from './fixtures.ts'

const MiB = 1024 * 1024
/** How long a rogue that never answers is waited for here. */
const ANSWER_TIMEOUT_MS = 150

test('a blob comes from the only holder and is held, verified', async t => {
  const blob = makeBlob(3 * MiB)
  const holder = await honest(t, blob)
  const { blobs, downloads } = await open(t, [[holder]])
  const download = downloads.start(blob.digest)
  assert.deepEqual(await download.opened, { sizeBytes: blob.bytes.length })
  await download.done
  assert.deepEqual(await blobs.bytes(blob.digest, 4 * MiB), blob.bytes)
  assert.deepEqual(download.from, ['honest'])
  assert.equal(downloads.get(blob.digest), undefined)
})

test('however many want a blob, it is fetched once', async t => {
  const blob = makeBlob(1_000)
  const { downloads } = await open(t, [[await honest(t, blob)]])
  assert.equal(downloads.start(blob.digest), downloads.start(blob.digest))
  await downloads.start(blob.digest).done
})

test('a holder that accepts and never answers only costs its time', async t => {
  const blob = makeBlob(10_000)
  const mute = await startRogue('mute', () => {})
  t.after(() => mute[Symbol.asyncDispose]())
  await comesFrom(t, blob.digest, [[mute.holder], [await honest(t, blob)]])
})

test('a holder that resets in the middle only costs its turn', async t => {
  const blob = makeBlob(4 * MiB)
  const resetting = await startRogue('resetting', (head, socket) => {
    const { head: right, start } = rightHead(head, blob.bytes.length)
    socket.write(right)
    socket.write(blob.bytes.subarray(start, start + 2 * MiB), () => socket.destroy())
  })
  t.after(() => resetting[Symbol.asyncDispose]())
  await comesFrom(t, blob.digest, [[resetting.holder], [await honest(t, blob)]])
})

test('wrong bytes are never held, and the next holder is asked', async t => {
  const blob = makeBlob(2 * MiB)
  const lying = await liar(t, blob)
  const { holders } = await comesFrom(t, blob.digest, [[lying], [await honest(t, blob)]])
  assert.ok(holders.asideMs(lying.id) > 60_000)
})

test('what every holder asked has not is unknown, and nothing is left of it', async t => {
  const { blobs, downloads } = await open(t, [[await honest(t, makeBlob(1))]])
  const { digest } = makeBlob(2)
  const download = downloads.start(digest)
  await assert.rejects(download.done, error => isCode(error, 'BLOB_UNKNOWN'))
  await assert.rejects(download.opened, error => isCode(error, 'BLOB_UNKNOWN'))
  assert.equal(blobs.stat(digest), undefined)
})

test('what nobody can be asked for is unknown', async t => {
  const { downloads } = await open(t, [])
  await assert.rejects(downloads.start(makeBlob(1).digest).done, error =>
    isCode(error, 'BLOB_UNKNOWN')
  )
})

test('what a failing holder may have is not called unknown, not even while it is put aside', async t => {
  const { digest } = makeBlob(1)
  const dead: Holder = { ...(await honest(t, makeBlob(1))), id: 'dead', name: 'dead', port: 1 }
  const { downloads } = await open(t, [[await honest(t, makeBlob(1)), dead]])
  for (let attempt = 0; attempt < 3; attempt++) {
    await assert.rejects(downloads.start(digest).done, error => isCode(error, 'PEER_FAILED'))
  }
})

test('a reader follows a blob that is still coming in, and gets its end only once it is verified', async t => {
  const blob = makeBlob(4 * MiB)
  const rest = Promise.withResolvers<void>()
  const slow = await startRogue('slow', async (head, socket) => {
    socket.write(rightHead(head, blob.bytes.length).head)
    socket.write(blob.bytes.subarray(0, 3 * MiB))
    await rest.promise
    socket.write(blob.bytes.subarray(3 * MiB))
  })
  t.after(() => slow[Symbol.asyncDispose]())
  const { blobs, downloads } = await open(t, [[slow.holder]])
  const download = downloads.start(blob.digest)
  const { sizeBytes } = await download.opened
  const whole = await download.follow(sizeBytes)
  const part = await download.follow(sizeBytes, { start: 10, end: 2 * MiB })
  assert.deepEqual(await buffer(part), blob.bytes.subarray(10, 2 * MiB))
  assert.equal(blobs.stat(blob.digest), undefined)
  rest.resolve()
  assert.deepEqual(await buffer(whole), blob.bytes)
  await download.done
  assert.deepEqual(await buffer(await download.follow(sizeBytes)), blob.bytes)
})

test('a stop ends what is under way, and the next start goes on where it was', async t => {
  const blob = makeBlob(4 * MiB)
  const stuck = await startRogue('stuck', (head, socket) => {
    const right = rightHead(head, blob.bytes.length)
    socket.write(right.head)
    socket.write(blob.bytes.subarray(right.start, 2 * MiB))
  })
  t.after(() => stuck[Symbol.asyncDispose]())
  const blobs = await openBlobs(t)
  const first = await open(t, [[stuck.holder]], blobs)
  const received = Promise.withResolvers<void>()
  first.onReceived = total => {
    if (total >= 2 * MiB) received.resolve()
  }
  const download = first.downloads.start(blob.digest)
  await received.promise
  await first.downloads.close()
  await assert.rejects(download.done, error => isCode(error, 'CLOSED'))

  const second = await open(t, [[await honest(t, blob)]], blobs)
  await second.downloads.start(blob.digest).done
  assert.equal(second.received, 2 * MiB)
})

async function comesFrom(
  context: TestContext,
  digest: Digest,
  ranks: readonly (readonly Holder[])[]
) {
  const opened = await open(context, ranks)
  await opened.downloads.start(digest).done
  assert.ok(opened.blobs.stat(digest))
  await opened.blobs.bytes(digest, 8 * MiB)
  return opened
}

/** Downloads into a real store from real servers; `ranks` are the candidates, best first. */
async function open(context: TestContext, ranks: readonly (readonly Holder[])[], store?: Blobs) {
  const blobs = store ?? (await openBlobs(context))
  const holders = new Holders({ clock: systemClock, random: () => 0 })
  const fetcher = new HttpsFetcher({
    credentials: asker,
    limits: { answerTimeoutMs: ANSWER_TIMEOUT_MS }
  })
  context.after(() => fetcher.close())
  const opened = { blobs, holders, received: 0, onReceived: (_total: number) => {} }
  const downloads = new Downloads({
    ...{ blobs, holders, fetcher, clock: systemClock, log: silentLog },
    sightings: new Sightings(),
    locator: { candidates: () => ranks.map(equals => [...equals]) },
    onReceived: bytes => {
      opened.received += bytes
      opened.onReceived(opened.received)
    }
  })
  context.after(() => downloads.close())
  return Object.assign(opened, { downloads })
}
