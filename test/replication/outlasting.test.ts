import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { test } from 'node:test'
import { outlasting } from '../../src/replication/outlasting.ts'
import type { ByteRange } from '../../src/store/range-stream.ts'

const blob = randomBytes(100_000)
const died = new Error('the holder died')

/** Gives these bytes a few at a time, then breaks off. */
function breakingAfter(bytes: Buffer): Readable {
  return Readable.from(
    (async function* () {
      for (let at = 0; at < bytes.length; at += 1_000) yield bytes.subarray(at, at + 1_000)
      throw died
    })(),
    { objectMode: false }
  )
}

function follow(way: Readable, range: ByteRange, held: () => Promise<void> = async () => {}) {
  const read = async ({ start, end }: ByteRange) => Readable.from([blob.subarray(start, end)])
  return outlasting(way, { range, held, read })
}

const all = { start: 0, end: blob.length }

test('a way that does not break off is all there is', async () => {
  const never = () => Promise.reject(new Error('nobody asks'))
  assert.ok((await buffer(follow(Readable.from([blob]), all, never))).equals(blob))
})

test('what a broken way left out comes from the blob, from the very byte on', async () => {
  for (const [start, sent] of [
    [0, 0],
    [0, 30_500],
    [777, 5_000],
    [0, 100_000]
  ] as const) {
    const way = breakingAfter(blob.subarray(start, start + sent))
    const got = await buffer(follow(way, { start, end: blob.length }))
    assert.ok(got.equals(blob.subarray(start)), `${start} ${sent}`)
  }
})

test('nothing is read before the blob is held', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  const stream = follow(breakingAfter(blob.subarray(0, 2_000)), all, () => promise)
  let got = 0
  stream.on('data', chunk => {
    got += chunk.length
    if (got === 2_000) setImmediate(() => setImmediate(resolve))
  })
  await new Promise(end => stream.once('end', end))
  assert.equal(got, blob.length)
})

test('who got other bytes than those of the blob does not get its end', async () => {
  const wrong = Buffer.from(blob.subarray(0, 50_000))
  wrong[49_000] = (wrong[49_000] ?? 0) ^ 1
  await assert.rejects(buffer(follow(breakingAfter(wrong), all)), died)
})

test('a blob that does not come fails as its way did', async () => {
  const lost = () => Promise.reject(new Error('nobody has it'))
  await assert.rejects(buffer(follow(breakingAfter(blob.subarray(0, 9)), all, lost)), died)
})

test('a reader that leaves ends the way', async () => {
  const way = new Readable({ read: () => {} })
  way.push(blob.subarray(0, 10))
  const stream = follow(way, all)
  stream.once('data', () => stream.destroy())
  await new Promise(close => way.once('close', close))
  assert.ok(way.destroyed)
})
