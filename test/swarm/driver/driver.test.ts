import assert from 'node:assert/strict'
import { test } from 'node:test'
import { GROWING_PIECE_BYTES } from '../../../src/swarm/driver/ingests.ts'
import { type Bird, Flock, makeBlob, type TestBlob } from './flock.ts'

const MiB = 1024 * 1024

test('a blob that one node holds comes to all, and leaves it little more than once', async t => {
  const flock = Flock.open(t, 'a', 'b', 'c', 'd', 'e')
  const blob = makeBlob(8 * MiB + 1_000)
  flock.get('a').store.hold(blob.digest, blob.bytes)
  await Promise.all(['b', 'c', 'd', 'e'].map(id => fetched(flock.get(id), blob)))
  assert.ok(flock.get('a').sentBytes < 2 * blob.bytes.length, `${flock.get('a').sentBytes}`)
  for (const { wastedBytes } of flock.birds.values()) assert.equal(wastedBytes, 0)
})

test('a node that comes late gets it too, from those who hold it by then', async t => {
  const flock = Flock.open(t, 'a', 'b')
  const blob = makeBlob(4 * MiB)
  flock.get('a').store.hold(blob.digest, blob.bytes)
  await fetched(flock.get('b'), blob)
  const late = flock.add('late')
  await fetched(late, blob)
})

test('nobody knows of a blob that no neighbour holds', async t => {
  const flock = Flock.open(t, 'a', 'b')
  const fetching = flock.get('a').driver.fetch(makeBlob(1).digest, 'background')
  assert.deepEqual(await fetching.ended, { kind: 'given-up', why: 'nobody' })
  assert.equal(await fetching.opened, undefined)
})

test('a peer that spoils what it sends is named, and nothing wrong is stored', async t => {
  const flock = Flock.open(t, 'a', 'bad', 'c')
  const bad = flock.get('bad')
  bad.send = bytes => Buffer.alloc(bytes.length)
  // The other may have given all of one by the time that the bad one is asked.
  const warnings = () => flock.get('c').warnings
  const named = () => warnings().filter(({ text }) => text === 'peer gave a wrong piece')
  while (named().length === 0) {
    const blob = makeBlob(4 * MiB)
    for (const id of ['a', 'bad']) flock.get(id).store.hold(blob.digest, blob.bytes)
    await fetched(flock.get('c'), blob)
  }
  assert.ok(named().every(({ peer }) => peer === 'bad'))
})

test('a peer with a wrong list, and pieces to match, is found by comparing the lists', async t => {
  const flock = Flock.open(t, 'a', 'liar', 'c', 'd')
  const blob = makeBlob(4 * MiB)
  for (const id of ['a', 'liar']) flock.get(id).store.hold(blob.digest, blob.bytes)
  flock.get('liar').store.spoil = (bytes, start) =>
    start < MiB ? Buffer.alloc(bytes.length) : bytes
  await Promise.all(['c', 'd'].map(id => fetched(flock.get(id), blob)))
})

test('a holder with a wrong list that nobody contradicts is blamed, and looks at its disk', async t => {
  const flock = Flock.open(t, 'liar', 'b')
  const blob = makeBlob(4 * MiB)
  flock.get('liar').store.hold(blob.digest, blob.bytes)
  flock.get('liar').store.spoil = bytes => Buffer.alloc(bytes.length)
  const { driver, store, warnings } = flock.get('b')
  const ending = await driver.fetch(blob.digest, 'background').ended
  assert.deepEqual(ending, { kind: 'given-up', why: 'wrong' })
  assert.ok(warnings.some(({ text, peer }) => peer === 'liar' && /wrong list/.test(String(text))))
  assert.equal(store.files.size + store.blobs.size, 0)
  await until(() => flock.get('liar').store.suspected.includes(blob.digest))
})

test('a neighbour that dies in the middle only costs its pieces', async t => {
  const flock = Flock.open(t, 'a', 'b', 'c')
  const blob = makeBlob(8 * MiB)
  for (const id of ['a', 'b']) flock.get(id).store.hold(blob.digest, blob.bytes)
  const { send } = flock.get('b')
  flock.get('b').send = bytes => {
    setImmediate(() => {
      flock.kill('b')
      flock.notice('b')
    })
    return send(bytes)
  }
  await fetched(flock.get('c'), blob)
})

test('a push is passed on while it comes in, and becomes the blob everywhere', async t => {
  const flock = Flock.open(t, 'a', 'b', 'c', 'd')
  const blob = makeBlob(9 * MiB + 5)
  const origin = flock.get('a')
  const push = pushTo(origin, 'f00d')
  await push.upTo(blob.bytes.subarray(0, 8 * MiB))
  // Everyone has all pieces that are complete before the push has ended.
  await until(() =>
    ['b', 'c', 'd'].every(id => piecesOf(flock.get(id)) === (8 * MiB) / GROWING_PIECE_BYTES)
  )
  for (const id of ['b', 'c', 'd']) assert.equal(flock.get(id).store.blobs.size, 0)
  const late = flock.add('late')
  push.finish(blob)
  await Promise.all(['b', 'c', 'd'].map(id => flock.get(id).store.whenHeld(blob.digest)))
  await late.store.whenHeld(blob.digest)
  for (const bird of flock.birds.values()) {
    assert.deepEqual(bird.store.blobs.get(blob.digest), blob.bytes)
    assert.equal(bird.store.files.size, 0)
  }
  assert.ok(origin.sentBytes < 2 * blob.bytes.length)
})

test('whoever wants the blob of a push that is under way joins it', async t => {
  const flock = Flock.open(t, 'a', 'b')
  const blob = makeBlob(9 * MiB)
  const push = pushTo(flock.get('a'), 'f00d')
  await push.upTo(blob.bytes.subarray(0, 8 * MiB))
  await until(() => piecesOf(flock.get('b')) > 0)
  push.finish(blob)
  const { driver, store } = flock.get('b')
  const fetching = driver.fetch(blob.digest, 'background')
  assert.deepEqual(await fetching.ended, { kind: 'held' })
  // None, when the push has come in full before it was asked for.
  assert.notEqual(fetching.part?.key, blob.digest)
  assert.ok(store.blobs.get(blob.digest)?.equals(blob.bytes))
})

test('a blob that is here by the time the neighbours have answered is not fetched', async t => {
  const flock = Flock.open(t, 'a', 'b')
  const blob = makeBlob(9 * MiB)
  flock.get('a').store.hold(blob.digest, blob.bytes)
  const { driver, store } = flock.get('b')
  const fetching = driver.fetch(blob.digest, 'background')
  store.hold(blob.digest, blob.bytes)
  assert.deepEqual(await fetching.ended, { kind: 'held' })
  assert.equal(flock.get('a').sentBytes, 0)
})

test('nothing is left of a push that was given up', async t => {
  const flock = Flock.open(t, 'a', 'b', 'c')
  const push = pushTo(flock.get('a'), 'f00d')
  await push.upTo(makeBlob(4 * MiB).bytes)
  await until(() => ['b', 'c'].every(id => piecesOf(flock.get(id)) > 0))
  push.giveUp()
  await until(() => ['b', 'c'].every(id => flock.get(id).store.files.size === 0))
})

test('nothing is left of a push that was given up while its file was being made', async t => {
  const flock = Flock.open(t, 'a', 'b')
  const { store } = flock.get('b')
  const made = Promise.withResolvers<void>()
  const open = store.open.bind(store)
  store.open = async (name, shape) => {
    const file = await open(name, shape)
    await made.promise
    return file
  }
  const push = pushTo(flock.get('a'), 'f00d')
  await push.upTo(makeBlob(4 * MiB).bytes)
  await until(() => store.files.size > 0)
  push.giveUp()
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate)
  made.resolve()
  // It is a matter of two messages, not of a minute in which nothing comes.
  for (let turn = 0; turn < 1_000; turn++) await new Promise(setImmediate)
  assert.equal(store.files.size, 0)
})

test('nothing is left of a push to a node that died', async t => {
  const flock = Flock.open(t, 'a', 'b', 'c')
  const push = pushTo(flock.get('a'), 'f00d')
  await push.upTo(makeBlob(4 * MiB).bytes)
  await until(() => ['b', 'c'].every(id => piecesOf(flock.get(id)) > 0))
  flock.kill('a')
  flock.notice('a')
  await until(() => ['b', 'c'].every(id => flock.get(id).store.files.size === 0))
})

test('a push is not passed on to a node without room', async t => {
  const flock = Flock.open(t, 'a', 'b', 'full')
  flock.get('full').store.room = false
  const push = pushTo(flock.get('a'), 'f00d')
  await push.upTo(makeBlob(4 * MiB).bytes)
  await until(() => piecesOf(flock.get('b')) === 4)
  assert.equal(flock.get('full').store.files.size, 0)
})

test('a stop keeps the pieces, and the next start asks for the others only', async t => {
  const flock = Flock.open(t, 'a', 'b')
  const blob = makeBlob(8 * MiB)
  const giver = flock.get('a')
  const { store, driver } = flock.get('b')
  giver.store.hold(blob.digest, blob.bytes)
  let sent = 0
  giver.send = bytes => {
    if (++sent === 9) driver.close()
    return bytes
  }
  const fetching = driver.fetch(blob.digest, 'background')
  assert.equal((await fetching.ended).kind, 'failed')
  const again = flock.add('again')
  for (const [name, file] of store.files) again.store.files.set(name, file)
  const kept = piecesOf(again)
  const before = giver.sentBytes
  await fetched(again, blob)
  assert.ok(kept > 0)
  assert.ok(giver.sentBytes - before < blob.bytes.length)
})

/** Fetches a blob and sees that it is right. */
async function fetched({ driver, store }: Bird, blob: TestBlob): Promise<void> {
  const fetching = driver.fetch(blob.digest, 'background')
  assert.deepEqual(await fetching.ended, { kind: 'held' })
  assert.ok(store.blobs.get(blob.digest)?.equals(blob.bytes))
}

function piecesOf({ store }: Bird): number {
  return [...store.files.values()].reduce((sum, { pieces }) => sum + pieces.size, 0)
}

/** A push to a node, as its uploads tell of it. */
function pushTo({ driver, store }: Bird, id: string) {
  return {
    async upTo(bytes: Buffer): Promise<void> {
      for (let end = MiB; end <= bytes.length; end += MiB) {
        store.uploads.set(id, bytes.subarray(0, end))
        driver.ingests.grown(id, { writtenBytes: end })
        await new Promise(setImmediate)
      }
    },
    finish({ digest, bytes }: TestBlob): void {
      store.uploads.delete(id)
      store.hold(digest, bytes)
      driver.ingests.finished(id, { digest, sizeBytes: bytes.length })
    },
    giveUp(): void {
      store.uploads.delete(id)
      driver.ingests.gone(id)
    }
  }
}

/** Waits for what happens by messages alone. */
async function until(condition: () => boolean): Promise<void> {
  for (const end = performance.now() + 120_000; !condition(); ) {
    assert.ok(performance.now() < end, 'waited in vain')
    await new Promise(resolve => setTimeout(resolve, 5))
  }
}
