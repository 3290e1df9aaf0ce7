import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { StarlingError } from '../../src/errors.ts'
import { type DownloadOptions, download, type Outcome } from '../../src/swarm/download.ts'
import type { Holder } from '../../src/swarm/fetcher.ts'
import { type FetcherLimits, HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import {
  asker,
  type Blob,
  closed,
  MemorySink,
  makeBlob,
  memorySource,
  rightHead,
  startHolder,
  startRogue
} from './peers.ts'

const MiB = 1024 * 1024
const blob = makeBlob(3 * MiB)

/** Small enough for a test, long enough for a busy machine to give an honest holder its turn. */
const STALL = { stallTimeoutMs: 1_000, stallBytes: 1024 }
const LIMITS = { alone: STALL, oneOfSeveral: STALL }

function openFetcher(t: TestContext, limits: Partial<FetcherLimits> = {}): HttpsFetcher {
  const fetcher = new HttpsFetcher({ credentials: asker, limits })
  t.after(() => fetcher.close())
  return fetcher
}

/** Downloads from the holders in this order, each again as long as it is not excluded. */
function run(
  t: TestContext,
  holders: readonly Holder[],
  sink: MemorySink,
  options: Partial<DownloadOptions> = {}
) {
  const fetcher = openFetcher(t)
  return download({
    digest: blob.digest,
    sink,
    fetcher,
    nextHolder: excluded => holders.find(({ id }) => !excluded.has(id)),
    signal: t.signal,
    limits: LIMITS,
    ...options
  })
}

function brief(outcomes: readonly Outcome[]): string[] {
  return outcomes.map(({ holder, outcome }) => `${holder.name} ${outcome}`)
}

/** Answers rightly, with other bytes, up to a byte of the blob. */
async function startLiar(t: TestContext, name: string, until: number, wrong = tampered(blob)) {
  const rogue = await startRogue(name, (request, socket) => {
    const { head, start } = rightHead(request, blob.bytes.length)
    socket.write(head)
    socket.write(wrong.subarray(start, until))
    if (until < wrong.length) socket.end()
  })
  t.after(() => rogue[Symbol.asyncDispose]())
  return rogue
}

function tampered({ bytes }: Blob): Buffer {
  const wrong = Buffer.from(bytes)
  wrong.writeUInt8(wrong.readUInt8(100) ^ 1, 100)
  return wrong
}

async function startHonest(t: TestContext, name = 'honest', ...blobs: readonly Blob[]) {
  const node = await startHolder(name, memorySource(...(blobs.length > 0 ? blobs : [blob])))
  t.after(() => node[Symbol.asyncDispose]())
  return node
}

async function startBad(t: TestContext, ...[name, answer]: Parameters<typeof startRogue>) {
  const rogue = await startRogue(name, answer)
  t.after(() => rogue[Symbol.asyncDispose]())
  return rogue
}

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

test('bytes beyond the announced size are never taken', async t => {
  const rogue = await startBad(t, 'more', (request, socket) => {
    const { head, start } = rightHead(request, blob.bytes.length)
    socket.write(Buffer.concat([Buffer.from(head), blob.bytes.subarray(start), Buffer.alloc(999)]))
  })
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder], sink)
  assert.equal(report.kind, 'done')
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('an answer without a length, or for another range, is not read', async t => {
  const chunked = await startBad(t, 'chunked', (_, socket) => {
    socket.write('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n')
  })
  const shifted = await startBad(t, 'shifted', (_, socket) => {
    const range = `content-range: bytes 5-${blob.bytes.length - 1}/${blob.bytes.length}`
    socket.write(`HTTP/1.1 206 P\r\n${range}\r\ncontent-length: ${blob.bytes.length - 5}\r\n\r\n`)
  })
  const whole = await startBad(t, 'whole', (_, socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${blob.bytes.length}\r\n\r\n`)
  })
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest, blob.bytes.subarray(0, 1_000))
  const holders = [chunked.holder, shifted.holder, whole.holder, holder]
  const report = await run(t, holders, sink)
  assert.deepEqual(brief(report.outcomes), [
    'chunked failed',
    'shifted failed',
    'whole failed',
    'honest done'
  ])
})

test('a holder alone that gives wrong bytes is named, and nothing is kept', async t => {
  const liar = await startLiar(t, 'liar', blob.bytes.length)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [liar.holder], sink)
  assert.equal(report.kind, 'unfinished')
  assert.deepEqual(brief(report.outcomes), ['liar wrong'])
  assert.deepEqual(sink.committed, [])
  assert.equal(sink.offset, 0)
})

test('a holder alone that gives wrong bytes is followed by another from the first byte', async t => {
  const liar = await startLiar(t, 'liar', blob.bytes.length)
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [liar.holder, holder], sink)
  assert.deepEqual(brief(report.outcomes), ['liar wrong', 'honest done'])
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('of several that gave to a wrong blob, the first is found to lie though it never gives a whole one', async t => {
  const liar = await startLiar(t, 'liar', MiB / 2)
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [liar.holder, holder], sink)
  assert.equal(report.kind, 'done')
  assert.deepEqual(brief(report.outcomes), ['liar failed', 'liar wrong', 'honest done'])
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('of several that gave to a wrong blob, one in the middle is found to lie', async t => {
  const wrong = Buffer.from(blob.bytes)
  wrong.fill(0, MiB, 2 * MiB)
  const first = await startLiar(t, 'first', MiB / 2, blob.bytes)
  const middle = await startLiar(t, 'middle', 2 * MiB, wrong)
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const named: string[] = []
  const report = await run(t, [first.holder, middle.holder, holder], sink, {
    onOutcome: outcome => named.push(`${outcome.holder.name} ${outcome.outcome}`)
  })
  assert.equal(report.kind, 'done')
  assert.deepEqual(named, brief(report.outcomes))
  assert.deepEqual(
    named.filter(outcome => outcome.endsWith('wrong')),
    ['middle wrong']
  )
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('of several that gave to a wrong blob, the one that lies to the end is found when tried alone', async t => {
  const first = await startLiar(t, 'first', MiB / 2, blob.bytes)
  const wrong = Buffer.from(blob.bytes)
  wrong.fill(0, 2 * MiB)
  const last = await startLiar(t, 'last', blob.bytes.length, wrong)
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [first.holder, last.holder, holder], sink)
  assert.equal(report.kind, 'done')
  assert.deepEqual(
    brief(report.outcomes).filter(outcome => outcome.endsWith('wrong')),
    ['last wrong']
  )
  assert.deepEqual(sink.committed, [blob.bytes])
})

test('a size that is not the known one is wrong before a byte is taken', async t => {
  const rogue = await startBad(t, 'bigger', (request, socket) => {
    socket.write(rightHead(request, blob.bytes.length + 1).head)
    socket.write(blob.bytes)
  })
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder, holder], sink, { sizeBytes: blob.bytes.length })
  assert.deepEqual(brief(report.outcomes), ['bigger wrong', 'honest done'])
  assert.equal(report.outcomes[0]?.bytes, 0)
})

test('when two announce different sizes, each is tried alone and the wrong one is named', async t => {
  const rogue = await startBad(t, 'bigger', (request, socket) => {
    const { head, start } = rightHead(request, blob.bytes.length + 1)
    socket.end(Buffer.concat([Buffer.from(head), blob.bytes.subarray(start, start + 10_000)]))
  })
  const { holder } = await startHonest(t)
  const sink = new MemorySink(blob.digest)
  const report = await run(t, [rogue.holder, holder], sink)
  assert.equal(report.kind, 'done')
  assert.deepEqual(
    brief(report.outcomes).filter(outcome => outcome.endsWith('wrong')),
    ['bigger wrong']
  )
  assert.deepEqual(sink.committed, [blob.bytes])
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
