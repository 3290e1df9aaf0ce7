import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { isCode, StarlingError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Batches } from '../../src/replication/batches.ts'
import { Sightings } from '../../src/replication/sightings.ts'
import { encodeHead } from '../../src/swarm/batch.ts'
import type { BatchFetcher, Holder } from '../../src/swarm/fetcher.ts'
import { Holders } from '../../src/swarm/holders.ts'
import { HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import { SMALL_BLOB_BYTES } from '../../src/swarm/piece-size.ts'
import {
  asker,
  type Blob,
  honest,
  makeBlob,
  memorySource,
  startHolder,
  startRogue
} from '../swarm/peers.ts'
import { openBlobs } from './fixtures.ts'

const LONG = { stallTimeoutMs: 600_000, stallBytes: 1 }
const blobs = Array.from({ length: 40 }, (_, index) => makeBlob(100 * index))

test('many small blobs come by one request, and are held', async t => {
  const stage = await open(t, [[await honest(t, ...blobs)]])
  assert.deepEqual(await stage.fetch(blobs), { honest: 40 })
  assert.deepEqual(stage.asked, ['honest 40'])
  assert.equal(stage.received, stage.store.totals().bytes)
})

test('what does not fit into one answer comes with the next', async t => {
  const large = Array.from({ length: 10 }, () => makeBlob(SMALL_BLOB_BYTES))
  const stage = await open(t, [[await honest(t, ...large)]])
  assert.deepEqual(await stage.fetch(large), { honest: 10 })
  assert.deepEqual(stage.asked, ['honest 10', 'honest 6', 'honest 2'])
})

test('what one holder has not the next one is asked for, and what nobody has comes by no batch', async t => {
  const [first, second] = [await honest(t, ...blobs.slice(0, 10)), await honest(t, ...blobs)]
  const stage = await open(t, [[{ ...first, name: 'first' }], [{ ...second, id: 'second' }]])
  const nowhere = makeBlob(7)
  assert.deepEqual(await stage.fetch([...blobs, nowhere]), { first: 10, honest: 30, nobody: 1 })
})

test('a holder that gives wrong bytes is put aside, nothing wrong is kept, and the rest comes from the next', async t => {
  const wrong = new Map(blobs.map(({ digest, bytes }) => [digest, bytes]))
  const [victim] = blobs.slice(20)
  if (victim !== undefined) wrong.set(victim.digest, Buffer.alloc(victim.bytes.length, 1))
  const lying = await startHolder('liar', {
    ...memorySource(...blobs),
    whole: async digest => wrong.get(digest) ?? assert.fail()
  })
  t.after(() => lying[Symbol.asyncDispose]())
  const stage = await open(t, [[lying.holder], [await honest(t, ...blobs)]])
  assert.deepEqual(await stage.fetch(blobs), { liar: 20, honest: 20 })
  assert.ok(stage.holders.asideMs('liar') > 60_000)
})

test('a holder that is mute, stalls or breaks off is left for the next at once, and put aside for a while', async t => {
  const [, first] = blobs
  const answers = {
    mute: () => {},
    stalls: (socket: { write(text: string): void }) => socket.write(chunked(encodeHead('absent'))),
    breaks: (socket: { write(text: string): void; destroy(): void }) => {
      socket.write(chunked(encodeHead(first?.bytes.length ?? 0)))
      socket.destroy()
    }
  }
  for (const [name, answer] of Object.entries(answers)) {
    const rogue = await startRogue(name, (_request, socket) => answer(socket))
    t.after(() => rogue[Symbol.asyncDispose]())
    const stage = await open(t, [[rogue.holder], [await honest(t, ...blobs)]])
    const { warned } = stage
    assert.deepEqual(await stage.fetch(blobs), { honest: 40 })
    assert.deepEqual(warned, [name])
    assert.ok(stage.asked.length <= 3, 'and not once for each blob')
  }
})

test('a node that does not know of batches is asked for each blob by itself, until it is met anew', async t => {
  let asked = 0
  const old = await startRogue('old', (_request, socket) => {
    asked += 1
    socket.write('HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n')
  })
  t.after(() => old[Symbol.asyncDispose]())
  const stage = await open(t, [[old.holder]])
  assert.deepEqual(await stage.fetch(blobs), { nobody: 40 })
  assert.deepEqual(await stage.fetch(blobs), { nobody: 40 })
  assert.equal(asked, 1)
  assert.deepEqual(stage.warned, [])
  stage.batches.met('old')
  await stage.fetch(blobs)
  assert.equal(asked, 2)
})

test('a blob that turns out to be large comes by itself', async t => {
  const large = makeBlob(SMALL_BLOB_BYTES + 1)
  const stage = await open(t, [[await honest(t, large, ...blobs)]])
  assert.deepEqual(await stage.fetch([large, ...blobs]), { honest: 40, nobody: 1 })
})

test('who waits for a client does not wait for others', async t => {
  const stage = await open(t, [[await honest(t, ...blobs)]])
  const [first = assert.fail()] = blobs
  const fetching = stage.batches.fetch(first.digest)
  stage.batches.hurry(first.digest)
  assert.equal(await fetching, undefined)
})

test('what the disk does not take fails, and is not held against the holder', async t => {
  const stage = await open(t, [[await honest(t, ...blobs)]], new StarlingError('DISK_FULL', 'full'))
  const ends = await Promise.allSettled(blobs.map(({ digest }) => stage.batches.fetch(digest)))
  assert.ok(ends.every(end => end.status === 'rejected' && isCode(end.reason, 'DISK_FULL')))
  assert.deepEqual(stage.warned, [])
})

test('a stop ends what waits and what is under way', async t => {
  const mute = await startRogue('mute', () => {})
  t.after(() => mute[Symbol.asyncDispose]())
  const stage = await open(t, [[mute.holder]])
  const fetching = Promise.allSettled(blobs.map(({ digest }) => stage.batches.fetch(digest)))
  await stage.sent
  const late = stage.batches.fetch(makeBlob(1).digest)
  late.catch(() => undefined)
  await stage.batches.close()
  await assert.rejects(late, { code: 'CLOSED' })
  for (const end of await fetching) {
    assert.ok(end.status === 'rejected' && isCode(end.reason, 'CLOSED'))
  }
})

function chunked(bytes: Buffer): string {
  return `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${bytes.length.toString(16)}\r\n${bytes.toString('latin1')}\r\n`
}

/** Batches into a real store from real servers; `ranks` are the candidates, best first. */
async function open(context: TestContext, ranks: readonly (readonly Holder[])[], disk?: Error) {
  const store = await openBlobs(context)
  const holders = new Holders({ clock: systemClock, random: () => 0 })
  const fetcher = new HttpsFetcher({ credentials: asker, limits: { answerTimeoutMs: 600_000 } })
  context.after(() => fetcher.close())
  const sent = Promise.withResolvers<void>()
  const asked: string[] = []
  const warned: string[] = []
  const counting: BatchFetcher = {
    openBatch: (holder, digests, ...rest) => {
      asked.push(`${holder.name} ${digests.length}`)
      sent.resolve()
      return fetcher.openBatch(holder, digests, ...rest)
    }
  }
  const stage = { store, holders, asked, warned, sent: sent.promise, received: 0 }
  const putAll: typeof store.putAll = blobs =>
    disk === undefined ? store.putAll(blobs) : Promise.reject(disk)
  const batches = new Batches({
    ...{ holders, clock: systemClock, fetcher: counting, blobs: { putAll } },
    sightings: new Sightings(),
    locator: { candidates: () => ranks.map(equals => [...equals]) },
    limits: { alone: LONG, oneOfSeveral: { stallTimeoutMs: 200, stallBytes: 1 } },
    onReceived: bytes => {
      stage.received += bytes
    },
    log: { ...silentLog, warn: (fields: { name?: string }) => warned.push(fields.name ?? '') }
  })
  context.after(() => batches.close())
  /** How many came from whom, all of them held by then. */
  const fetch = async (wanted: readonly Blob[]) => {
    const counts: Record<string, number> = {}
    const fetchOne = async ({ digest, bytes }: Blob) => {
      const from = await batches.fetch(digest)
      counts[from ?? 'nobody'] = (counts[from ?? 'nobody'] ?? 0) + 1
      if (from !== undefined) assert.deepEqual(await store.whole(digest), bytes)
    }
    await Promise.all(wanted.map(fetchOne))
    return counts
  }
  return Object.assign(stage, { batches, fetch })
}
