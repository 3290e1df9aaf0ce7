import assert from 'node:assert/strict'
import { test } from 'node:test'
import { blob, brief, run, startBad, startHonest, startLiar } from './downloads.ts'
import { MemorySink, rightHead } from './peers.ts'

const MiB = 1024 * 1024

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
