import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../../src/errors.ts'
import type { Outcome } from '../../src/swarm/download.ts'
import { blob, brief, run, startBad, startHonest, tampered } from './downloads.ts'
import { closed, MemorySink, makeBlob, openFetcher, rightHead } from './peers.ts'

const MiB = 1024 * 1024

test('a blob comes whole from one holder, is verified once and not hashed again', async t => {
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  let received = 0
  const report = await run(t, [holder], sink, {
    onReceived: bytes => {
      received += bytes
    }
  })
  assert.equal(report.kind, 'done')
  assert.deepEqual(brief(report.outcomes), ['honest done'])
  assert.deepEqual(sink.committed, [blob.bytes])
  assert.equal(received, blob.bytes.length)
})

test('an empty blob is a blob', async t => {
  const empty = makeBlob(0)
  const { holder } = await startHonest(t, 'honest', empty)
  const sink = new MemorySink(empty.digest)
  const report = await run(t, [holder], sink, { digest: empty.digest })
  assert.equal(report.kind, 'done')
  assert.equal(sink.committed.length, 1)
})

test('what an earlier run left is gone on with, not fetched again', async t => {
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest, blob.bytes.subarray(0, 2 * MiB))
  const report = await run(t, [holder], sink)
  assert.equal(report.outcomes[0]?.bytes, MiB)
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('what an earlier run left complete is only verified', async t => {
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest, blob.bytes)
  const report = await run(t, [holder], sink)
  assert.equal(report.outcomes[0]?.bytes, 0)
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('what an earlier run left longer than the blob is dropped', async t => {
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest, Buffer.concat([blob.bytes, Buffer.alloc(5)]))
  const report = await run(t, [holder], sink)
  assert.deepEqual(brief(report.outcomes), ['honest done'])
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('what an earlier run left wrong is dropped and blamed on nobody', async t => {
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest, tampered(blob).subarray(0, MiB))
  const report = await run(t, [holder], sink)
  assert.deepEqual(brief(report.outcomes), ['honest done'])
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('a holder that has not got the blob is passed over', async t => {
  const without = await startHonest(t, 'without', makeBlob(1))
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [without.holder, holder], sink)
  assert.deepEqual(brief(report.outcomes), ['without unknown', 'honest done'])
})

test('when nobody is left, what came in stays for another time', async t => {
  const rogue = await startBad(t, 'breaks', (request, socket) => {
    const { head, start } = rightHead(request, blob.bytes.length)
    socket.end(Buffer.concat([Buffer.from(head), blob.bytes.subarray(start, start + 10_000)]))
  })
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder], sink)
  assert.equal(report.kind, 'unfinished')
  assert.deepEqual(brief(report.outcomes), ['breaks failed'])
  assert.equal(sink.offset, 10_000)
  assert.equal(sink.resets, 0)
})

test('a holder that resets mid-blob is followed by another at the byte reached', async t => {
  const rogue = await startBad(t, 'resets', (request, socket) => {
    const { head } = rightHead(request, blob.bytes.length)
    socket.write(head)
    socket.write(blob.bytes.subarray(0, MiB / 2), () => socket.destroy())
  })
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder, holder], sink)
  assert.deepEqual(brief(report.outcomes), ['resets failed', 'honest done'])
  const [first, second] = report.outcomes
  assert.equal((first?.bytes ?? 0) + (second?.bytes ?? 0), blob.bytes.length)
  assert.ok((first?.bytes ?? 0) > 0)
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('a holder that breaks off after good progress is asked again, without another', async t => {
  const rogue = await startBad(t, 'flaky', (request, socket) => {
    const { head, start } = rightHead(request, blob.bytes.length)
    socket.end(Buffer.concat([Buffer.from(head), blob.bytes.subarray(start, start + 1.2 * MiB)]))
  })
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder], sink)
  assert.deepEqual(brief(report.outcomes), ['flaky failed', 'flaky failed', 'flaky done'])
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('a holder that accepts and never answers is left for another', async t => {
  const rogue = await startBad(t, 'silent', () => {})
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder, holder], sink, {
    fetcher: openFetcher(t, { answerTimeoutMs: 500 })
  })
  assert.deepEqual(brief(report.outcomes), ['silent failed', 'honest done'])
  assert.equal(rogue.connections.size, 0)
})

test('one of several holders is soon left when it is mute or stalls, the last one is waited for', async t => {
  const mute = await startBad(t, 'mute', () => {})
  const stalls = await startBad(t, 'stalls', (request, socket) => {
    socket.write(rightHead(request, blob.bytes.length).head)
  })
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const long = { stallTimeoutMs: 600_000, stallBytes: 1 }
  const report = await run(t, [mute.holder, stalls.holder, holder], sink, {
    fetcher: openFetcher(t, { answerTimeoutMs: 600_000 }),
    limits: { alone: long, oneOfSeveral: { stallTimeoutMs: 200, stallBytes: 1 } }
  })
  assert.deepEqual(brief(report.outcomes), ['mute failed', 'stalls stalled', 'honest done'])
})

test('a holder that stalls mid-blob is left for another', async t => {
  const rogue = await startBad(t, 'stalls', (request, socket) => {
    socket.write(rightHead(request, blob.bytes.length).head)
    socket.write(blob.bytes.subarray(0, 5_000))
  })
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder, holder], sink)
  assert.deepEqual(brief(report.outcomes), ['stalls stalled', 'honest done'])
  assert.equal(report.outcomes[0]?.bytes, 5_000)
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('a holder that drips is as good as one that stalls', async t => {
  const rogue = await startBad(t, 'drips', (request, socket) => {
    socket.write(rightHead(request, blob.bytes.length).head)
    let at = 0
    const drip = setInterval(() => socket.write(blob.bytes.subarray(at, ++at)), 20)
    socket.on('close', () => clearInterval(drip))
  })
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder, holder], sink)
  assert.deepEqual(brief(report.outcomes), ['drips stalled', 'honest done'])
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('time that our own sink takes is not held against the holder', async t => {
  const { holder } = await startHonest(t)
  class SlowSink extends MemorySink {
    override async append(chunk: Uint8Array): Promise<void> {
      if (this.offset === 0) await new Promise(resolve => setTimeout(resolve, 900))
      await super.append(chunk)
    }
  }
  const sink = new SlowSink(blob.digest)
  const limits = { stallTimeoutMs: 300, stallBytes: 1 }
  const report = await run(t, [holder], sink, { limits: { alone: limits, oneOfSeveral: limits } })
  assert.deepEqual(brief(report.outcomes), ['honest done'])
})

test('what the sink throws ends the download and is nobody else’s fault', async t => {
  const { holder } = await startHonest(t)
  class FullSink extends MemorySink {
    override async append(): Promise<void> {
      throw new StarlingError('DISK_FULL', 'no room')
    }
  }
  const outcomes: Outcome[] = []
  const running = run(t, [holder], new FullSink(blob.digest), {
    onOutcome: outcome => outcomes.push(outcome)
  })
  await assert.rejects(running, { code: 'DISK_FULL' })
  assert.deepEqual(outcomes, [])
})

test('the signal ends a download that waits for bytes and leaves no connection', async t => {
  const stop = new AbortController()
  const rogue = await startBad(t, 'stalls', (request, socket) => {
    socket.write(rightHead(request, blob.bytes.length).head)
    socket.write(blob.bytes.subarray(0, 5_000))
  })
  const sink = new MemorySink(blob.digest)
  const running = run(t, [rogue.holder], sink, {
    signal: stop.signal,
    onReceived: () => stop.abort(new Error('not wanted any more'))
  })
  await assert.rejects(running, { message: 'not wanted any more' })
  await Promise.all([...rogue.connections].map(socket => closed(socket)))
  assert.equal(rogue.connections.size, 0)
  assert.deepEqual(sink.committed, [])
})
