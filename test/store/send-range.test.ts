import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import type { RangeStream } from '../../src/store/range-stream.ts'
import { MIB, openBlobs, scratch, someBytes } from './scratch.ts'

const bytes = someBytes(4 * MIB + 100)
const digest = digestOf(bytes)

test('a range goes out whole, whatever becomes of the buffers it went through', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  await blobs.put(bytes, digest)
  for (const [start, end] of [
    [0, bytes.length],
    [17, 3 * MIB],
    [5, 6],
    [9, 9]
  ] as const) {
    const sink = new LateSink()
    const stream = (await blobs.read(digest, { start, end })) as RangeStream
    let sentBytes = 0
    await stream.sendTo(sink, count => {
      sentBytes += count
    })
    assert.equal(sentBytes, end - start)
    assert.deepEqual(Buffer.concat(sink.chunks), bytes.subarray(start, end))
    assert.ok(stream.destroyed && !sink.writableEnded)
  }
})

test('more transfers at once than there are large buffers all get their bytes', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  await blobs.put(bytes, digest)
  const range = { start: 3, end: 600_003 }
  const sinks = Array.from({ length: 80 }, () => new LateSink())
  await Promise.all(
    sinks.map(async sink =>
      ((await blobs.read(digest, range)) as RangeStream).sendTo(sink, () => {})
    )
  )
  for (const sink of sinks) {
    assert.ok(Buffer.concat(sink.chunks).equals(bytes.subarray(range.start, range.end)))
  }
})

test('a reader that leaves in the middle of a write ends the transfer and frees the file', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  await blobs.put(bytes, digest)
  const stuck = new Writable({ write: () => setImmediate(() => stuck.destroy()) })
  const stream = (await blobs.read(digest)) as RangeStream
  await assert.rejects(stream.sendTo(stuck, () => {}))
  assert.ok(stream.closed)
})

test('a reader that leaves while the bytes are still to come ends the transfer', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const stream = partial.follow({ sizeBytes: bytes.length }) as RangeStream
  const sink = new LateSink()
  const sent = stream.sendTo(sink, () => sink.destroy())
  await partial.append(bytes.subarray(0, 100))
  await assert.rejects(sent, error => isCode(error, 'CLOSED'))
})

test('a growing blob goes out as it comes, and its end after the commit', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const stream = partial.follow({ sizeBytes: bytes.length }) as RangeStream
  const sink = new LateSink()
  const sent = stream.sendTo(sink, () => {})
  for (let at = 0; at < bytes.length; at += 100_000) {
    await partial.append(bytes.subarray(at, at + 100_000))
  }
  await partial.commit(digest)
  await sent
  assert.equal(digestOf(Buffer.concat(sink.chunks)), digest)
})

/** Looks at each chunk only right before it says that it is done with it. */
class LateSink extends Writable {
  readonly chunks: Buffer[] = []

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    setImmediate(() => {
      this.chunks.push(Buffer.from(chunk))
      done()
    })
  }
}
