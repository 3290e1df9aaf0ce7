import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { TLSSocket } from 'node:tls'
import { PieceFetcher, type PieceFetcherLimits } from '../../src/swarm/piece-fetcher.ts'
import { MAX_HEAD_BYTES, readReply } from '../../src/swarm/reply.ts'
import { asker, closed, startRogue } from './peers.ts'

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n'

/** A peer that answers as it likes, and what fetches from it. */
async function open(
  t: TestContext,
  answer: (head: string, socket: TLSSocket) => void,
  limits: Partial<PieceFetcherLimits> = {}
) {
  const rogue = await startRogue('rogue', answer)
  const fetcher = new PieceFetcher({ credentials: asker, limits })
  t.after(async () => {
    await fetcher.close()
    await rogue[Symbol.asyncDispose]()
  })
  const wish = { key: 'k', piece: 0, urgency: 'repair', maxBytes: 100, signal: t.signal } as const
  return { rogue, fetch: () => fetcher.fetch(rogue.holder, wish) }
}

test('an answer may come in portions of any size', async t => {
  const { fetch } = await open(t, async (_head, socket) => {
    for (const character of `${HEAD}bytes`) {
      socket.write(character)
      await setImmediate()
    }
  })
  for (const _ of ['first', 'second']) {
    const answer = await fetch()
    assert.ok(answer.kind === 'arrived' && answer.bytes.toString() === 'bytes')
  }
})

test('a head without end, or that is none, is given up', async t => {
  const heads = [
    'x'.repeat(MAX_HEAD_BYTES + 10),
    `HTTP/1.1 200 OK\r\n${'x: y\r\n'.repeat(MAX_HEAD_BYTES / 6)}\r\n`,
    'SSH-2.0-what\r\n\r\n',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nbytes',
    'HTTP/1.1 100 Continue\r\n\r\n'
  ]
  for (const head of heads) {
    const { fetch, rogue } = await open(t, (_head, socket) => socket.write(head))
    const answer = await fetch()
    assert.ok(answer.kind === 'failed')
    assert.equal((answer.error as { code?: string }).code, 'PEER_FAILED')
    await Promise.all([...rogue.connections].map(socket => closed(socket)))
  }
})

test('who sends more than was asked for, or asks to be left, is left', async t => {
  const more = await open(t, (_head, socket) => socket.write(`${HEAD}bytes and more`))
  assert.equal((await more.fetch()).kind, 'failed')

  let asked = 0
  const last = await open(t, (_head, socket) => {
    asked += 1
    socket.write(HEAD.replace('\r\n', '\r\nConnection: close\r\n'))
    socket.write('bytes')
  })
  for (const _ of ['first', 'second']) assert.equal((await last.fetch()).kind, 'arrived')
  assert.equal(asked, 2)
})

test('who sends what nobody asked for loses the connection, and the next request has a new one', async t => {
  const { fetch, rogue } = await open(t, (_head, socket) => socket.write(`${HEAD}bytes`))
  assert.equal((await fetch()).kind, 'arrived')
  const [first] = rogue.connections
  assert.ok(first)
  first.write('surprise')
  await closed(first)
  assert.equal((await fetch()).kind, 'arrived')
})

test('a connection that nobody uses is closed after a while', async t => {
  const limits = { idleTimeoutMs: 50 }
  const { fetch, rogue } = await open(t, (_head, socket) => socket.write(`${HEAD}bytes`), limits)
  assert.equal((await fetch()).kind, 'arrived')
  // The idle time is not to keep a process alive; here something else has to.
  const alive = setInterval(() => {}, 1_000)
  await Promise.all([...rogue.connections].map(socket => closed(socket)))
  clearInterval(alive)
})

test('a head says what it says', () => {
  assert.deepEqual(readReply('HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nstarling-retry-ms:  20'), {
    status: 503,
    lengthBytes: 0,
    retryMs: 20,
    isLast: false
  })
  for (const head of ['', 'HTTP/1.1 200 OK', 'HTTP/1.1 200 OK\r\ncontent-length: -1']) {
    assert.throws(() => readReply(head), { code: 'PEER_FAILED' })
  }
})
