import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Readable } from 'node:stream'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { WITHHELD_BYTES } from '../../src/store/follow.ts'
import { MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'

const bytes = someBytes(4 * MIB + 100)
const digest = digestOf(bytes)
const sizeBytes = bytes.length

test('several followers read a download as it grows, each the range it wants', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const whole = readAll(partial.follow({ sizeBytes }))
  const middle = readAll(partial.follow({ sizeBytes, start: 1000, end: 2 * MIB }))
  for (let at = 0; at < sizeBytes; at += 100_000) {
    await partial.append(bytes.subarray(at, at + 100_000))
  }
  assert.deepEqual(await middle, bytes.subarray(1000, 2 * MIB), 'not held up by the commit')
  const late = readAll(partial.follow({ sizeBytes, start: sizeBytes - 10 }))
  await partial.commit(digest)
  assert.deepEqual(await whole, bytes)
  assert.deepEqual(await late, bytes.subarray(-10))
})

test('bytes are passed on as soon as they are written, but the last only after the commit', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const stream = partial.follow({ sizeBytes })
  await partial.append(bytes.subarray(0, 10))
  assert.deepEqual(await take(stream, 10), bytes.subarray(0, 10))
  await partial.append(bytes.subarray(10))
  const open = sizeBytes - WITHHELD_BYTES
  assert.deepEqual(await take(stream, open - 10), bytes.subarray(10, open))
  await partial.flush()
  assert.equal(stream.read(), null, 'all is written, and still the end is withheld')
  await partial.commit(digest)
  assert.deepEqual(await readAll(stream), bytes.subarray(open))
})

test('a follower of a small blob gets nothing before the commit', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const small = bytes.subarray(0, 1000)
  const stream = partial.follow({ sizeBytes: small.length })
  await partial.append(small)
  await partial.flush()
  assert.equal(stream.read(), null)
  await partial.commit(digestOf(small))
  assert.deepEqual(await readAll(stream), small)
})

test('followers of a download that turns out wrong, is given up or is closed get an error', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  for (const [end, code] of [
    ['commit', 'DIGEST_INVALID'],
    ['discard', 'CLOSED'],
    ['close', 'CLOSED']
  ] as const) {
    const partial = await blobs.partial(`some-blob-${end}`, 'sha256')
    await partial.append(bytes.subarray(0, 2 * MIB))
    const told = [0, MIB].map(start => {
      const follower = readAll(partial.follow({ sizeBytes, start }))
      return assert.rejects(follower, error => isCode(error, code))
    })
    await (end === 'commit' ? partial.commit(digest).catch(() => undefined) : partial[end]())
    await Promise.all(told)
  }
})

test('a size that was announced wrongly is not hidden from followers', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  for (const announced of [sizeBytes + 1, sizeBytes - 1]) {
    const partial = await blobs.partial('some-blob', 'sha256')
    const follower = readAll(partial.follow({ sizeBytes: announced }))
    await partial.append(bytes)
    await Promise.all([
      assert.rejects(follower, error => isCode(error, 'SIZE_INVALID')),
      partial.commit(digest)
    ])
  }
})

test('a follower that goes away hurts neither the download nor the others', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const [leaves, stays] = [partial.follow({ sizeBytes }), partial.follow({ sizeBytes })]
  const all = readAll(stays)
  await partial.append(bytes.subarray(0, MIB))
  await take(leaves, 100)
  leaves.destroy()
  await once(leaves, 'close')
  await partial.append(bytes.subarray(MIB))
  await partial.commit(digest)
  assert.deepEqual(await all, bytes)
})

test('a slow follower reads to the end of a blob that is long committed, and even removed', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const stream = partial.follow({ sizeBytes })
  await partial.append(bytes)
  await take(stream, 5)
  await partial.commit(digest)
  await blobs.remove(digest)
  assert.deepEqual(await readAll(stream), bytes.subarray(5))
})

async function take(stream: Readable, count: number): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let left = count; left > 0; ) {
    const part: Buffer | null = stream.read(Math.min(left, Math.max(stream.readableLength, 1)))
    if (part === null) {
      await once(stream, 'readable')
      continue
    }
    parts.push(part)
    left -= part.length
  }
  return Buffer.concat(parts)
}
