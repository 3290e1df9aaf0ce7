import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Clock, systemClock } from '../../src/clock.ts'
import { HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import { PieceFetcher } from '../../src/swarm/piece-fetcher.ts'
import { RateLimit } from '../../src/swarm/rate-limit.ts'
import type { Urgency } from '../../src/swarm/schedule/messages.ts'
import { asker, makeBlob, memorySource, startHolder } from './peers.ts'

const KIB = 1024
const RATE = 1_000 * KIB

/** A limit whose time the test owns, and counts of what has passed. */
function open(t: TestContext, backgroundShare = 0.25) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let nowMs = 0
  let waitedSeconds = 0
  const clock: Clock = { now: () => nowMs, monotonic: () => nowMs }
  const limit = new RateLimit({
    ...{ bytesPerSecond: RATE, backgroundShare, clock },
    onWaited: seconds => {
      waitedSeconds += seconds
    }
  })
  const passed = { awaited: 0, background: 0, repair: 0 }
  /** Takes one portion after the other for as long as it is asked to. */
  const keepTaking = (urgency: Urgency, portionBytes = 10 * KIB) => {
    let isWanted = true
    void (async () => {
      while (isWanted) {
        await limit.take(portionBytes, urgency)
        passed[urgency] += portionBytes
      }
    })()
    return () => {
      isWanted = false
    }
  }
  const run = async (ms: number) => {
    for (const endMs = nowMs + ms; nowMs < endMs; ) {
      nowMs += 5
      t.mock.timers.tick(5)
      // The portions that passed are asked for again before time goes on.
      for (let turn = 0; turn < 40; turn += 1) await undefined
    }
  }
  return { limit, passed, keepTaking, run, waited: () => waitedSeconds }
}

test('without a limit nothing waits', () => {
  const options = { bytesPerSecond: 0, backgroundShare: 0.25, clock: systemClock }
  assert.equal(new RateLimit(options).take(1e12, 'background'), undefined)
})

test('as many bytes pass a second as the limit says, after a rest too', async t => {
  const { passed, keepTaking, run, waited } = open(t)
  for (let time = 0; time < 2; time += 1) {
    const before = passed.background
    const stop = keepTaking('background')
    await run(2_000)
    stop()
    const bytes = passed.background - before
    assert.ok(Math.abs(bytes - 2 * RATE) < 0.05 * 2 * RATE, `${bytes} passed in 2 s`)
    await run(10_000)
  }
  assert.ok(waited() > 3)
})

test('what a client waits for leaves the rest its share, and no more', async t => {
  const { passed, keepTaking, run } = open(t)
  for (let stream = 0; stream < 4; stream += 1) keepTaking('background')
  keepTaking('repair')
  await run(5_000)
  assert.ok(passed.background + passed.repair > 4.8 * RATE, 'all of it is theirs until then')
  const before = { ...passed }
  const stop = keepTaking('awaited')
  await run(4_000)
  const awaited = passed.awaited / RATE / 4
  const rest = (passed.background + passed.repair - before.background - before.repair) / RATE / 4
  assert.ok(awaited > 0.7, `${awaited} of the limit`)
  assert.ok(rest > 0.15 && rest < 0.3, `${rest} of the limit`)
  stop()
  await run(2_000)
  const after = passed.background + passed.repair
  await run(2_000)
  const alone = (passed.background + passed.repair - after) / RATE / 2
  assert.ok(alone > 0.95, `${alone} of the limit, once nobody waits`)
})

test('blobs and pieces go out, and come in, no faster than the limit', async t => {
  const blob = makeBlob(400 * KIB)
  const slow = () =>
    new RateLimit({ bytesPerSecond: 8_000 * KIB, backgroundShare: 0.25, clock: systemClock })
  // Four times the bytes, less what passes at once: a portion, and the credit of a rest.
  const leastMs = 4 * 50 - 50 - 50
  for (const limits of [{ egress: slow() }, { ingress: slow() }]) {
    await using node = await startHolder('node', memorySource(blob), limits)
    node.server.servePieces({
      want: async () => ({
        kind: 'serve',
        sizeBytes: blob.bytes.length,
        body: await memorySource(blob).read(blob.digest)
      }),
      sent: () => {}
    })
    const blobs = new HttpsFetcher({ credentials: asker, ...limits })
    const pieces = new PieceFetcher({ credentials: asker, ...limits })
    t.after(() => Promise.all([blobs.close(), pieces.close()]))
    const begunMs = systemClock.monotonic()
    for (const urgency of ['awaited', 'background'] as const) {
      const { body } = await blobs.open(node.holder, blob.digest, 0, t.signal, { urgency })
      assert.ok(Buffer.concat(await body.toArray()).equals(blob.bytes))
      const wish = { key: 'k', piece: 0, urgency, maxBytes: 1e6, signal: t.signal }
      const piece = await pieces.fetch(node.holder, wish)
      assert.ok(piece.kind === 'arrived' && piece.bytes.equals(blob.bytes))
    }
    const ms = systemClock.monotonic() - begunMs
    assert.ok(ms >= leastMs, `all in ${ms} ms`)
  }
})
