import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import type { PieceAnswer, PieceDesk, PieceRequest } from '../../src/swarm/piece-desk.ts'
import {
  PieceFetcher,
  type PieceFetcherLimits,
  type PieceWish
} from '../../src/swarm/piece-fetcher.ts'
import {
  asker,
  closed,
  holderAt,
  memorySource,
  startHolder,
  startRogue,
  stranger
} from './peers.ts'
import { startRelay } from './relay.ts'

const piece = randomBytes(300_000)
const key = 'u:12D3KooWabc:6f1c-2'

/** Answers as it is told, and remembers what it was asked. */
class TestDesk implements PieceDesk {
  readonly wanted: PieceRequest[] = []
  readonly ended: boolean[] = []
  readonly #end = Promise.withResolvers<boolean>()
  answer: (request: PieceRequest, signal: AbortSignal) => Promise<PieceAnswer> = async () => serve()

  want(request: PieceRequest, signal: AbortSignal): Promise<PieceAnswer> {
    this.wanted.push(request)
    return this.answer(request, signal)
  }

  sent(_request: PieceRequest, whole: boolean): void {
    this.ended.push(whole)
    this.#end.resolve(whole)
  }

  /** How the first piece that was to be sent ended. */
  end(): Promise<boolean> {
    return this.#end.promise
  }
}

function serve(bytes: Buffer = piece): PieceAnswer {
  return { kind: 'serve', sizeBytes: bytes.length, body: Readable.from([bytes]) }
}

async function open(t: TestContext, limits: Partial<PieceFetcherLimits> = {}) {
  const desk = new TestDesk()
  const node = await startHolder('node', memorySource())
  node.server.servePieces(desk)
  const relay = await startRelay(node.server.port)
  const fetcher = new PieceFetcher({ credentials: asker, limits })
  t.after(async () => {
    await fetcher.close()
    await relay[Symbol.asyncDispose]()
    await node.server.close()
  })
  const holder = { ...node.holder, port: relay.port }
  const fetch = (wish: Partial<PieceWish> = {}) => fetcher.fetch(holder, wishOf(t, wish))
  return { desk, node, relay, fetcher, fetch }
}

function wishOf(t: TestContext, wish: Partial<PieceWish>): PieceWish {
  return { key, piece: 7, urgency: 'background', maxBytes: 1_000_000, signal: t.signal, ...wish }
}

test('a piece is fetched with its hash, and its memory is used again', async t => {
  const { desk, fetch, relay } = await open(t)
  let started = 0
  const first = await fetch({ urgency: 'awaited', onStarted: () => started++ })
  assert.ok(first.kind === 'arrived')
  assert.ok(first.bytes.equals(piece))
  assert.deepEqual(first.hash, createHash('sha256').update(piece).digest())
  assert.equal(started, 1)
  const memory = first.bytes.buffer
  first.release()
  first.release()
  const second = await fetch()
  const third = await fetch()
  assert.ok(second.kind === 'arrived' && third.kind === 'arrived')
  assert.equal(second.bytes.buffer, memory)
  assert.notEqual(third.bytes.buffer, memory, 'it was given back once')
  assert.deepEqual(desk.wanted[0], { peer: 'asker', key, piece: 7, urgency: 'awaited' })
  assert.deepEqual(desk.ended, [true, true, true])
  assert.equal(relay.accepted, 1, 'all over one connection')
})

test('a peer may be busy, or not have it, and the connection is kept', async t => {
  const { desk, fetch, relay } = await open(t)
  desk.answer = async () => ({ kind: 'busy', retryMs: 12.4 })
  assert.deepEqual(await fetch(), { kind: 'busy', retryMs: 13 })
  desk.answer = async () => ({ kind: 'busy', retryMs: 1e9 })
  assert.deepEqual(await fetch(), { kind: 'busy', retryMs: 10_000 }, 'nobody is sent away for ever')
  desk.answer = async () => ({ kind: 'unknown' })
  assert.deepEqual(await fetch(), { kind: 'unknown' })
  assert.equal(relay.accepted, 1)
  assert.deepEqual(desk.ended, [])
})

test('a request waits for its turn, and is taken back while it does', async t => {
  const { desk, fetch } = await open(t)
  const asked = Promise.withResolvers<AbortSignal>()
  const turn = Promise.withResolvers<PieceAnswer>()
  desk.answer = (_request, signal) => {
    asked.resolve(signal)
    return turn.promise
  }
  const cancel = new AbortController()
  const cancelled = fetch({ signal: cancel.signal })
  const signal = await asked.promise
  const told = new Promise(resolve => signal.addEventListener('abort', resolve))
  cancel.abort(new Error('got it elsewhere'))
  const answer = await cancelled
  assert.ok(answer.kind === 'failed' && String(answer.error).includes('got it elsewhere'))
  await told
  turn.resolve(serve())
  desk.answer = async () => serve()
  assert.equal((await fetch()).kind, 'arrived')
  assert.deepEqual(desk.ended, [false, true], 'what nobody wants any more was not sent')
})

test('a piece that is coming in is taken back, and its sender stops', async t => {
  const { desk, fetch } = await open(t)
  desk.answer = async () => {
    const body = new Readable({ read: () => {} })
    body.push(piece.subarray(0, 1_000))
    return { kind: 'serve', sizeBytes: piece.length, body }
  }
  const cancel = new AbortController()
  const answer = await fetch({ signal: cancel.signal, onStarted: () => cancel.abort() })
  assert.equal(answer.kind, 'failed')
  assert.deepEqual(await desk.end(), false)
})

test('a sender that breaks off, sends too much, or too little, has failed', async t => {
  const { desk, fetch } = await open(t)
  desk.answer = async () => {
    const body = Readable.from(
      (async function* () {
        yield piece.subarray(0, 1_000)
        throw new Error('the disk is gone')
      })()
    )
    return { kind: 'serve', sizeBytes: piece.length, body }
  }
  assert.equal((await fetch()).kind, 'failed')
  assert.deepEqual(desk.ended, [false])
  desk.answer = async () => serve()
  let started = false
  const onStarted = () => {
    started = true
  }
  assert.equal((await fetch({ maxBytes: piece.length - 1, onStarted })).kind, 'failed')
  assert.equal(started, false, 'none of it was taken')

  const ends = ['content-length: 10\r\n\r\nonly', '\r\nno length', 'content-length: x\r\n\r\n']
  for (const end of ends) {
    await using rogue = await startRogue('rogue', (_head, socket) => {
      socket.end(`HTTP/1.1 200 OK\r\n${end}`)
    })
    const fetcher = new PieceFetcher({ credentials: asker })
    const answer = await fetcher.fetch(rogue.holder, wishOf(t, {}))
    assert.ok(answer.kind === 'failed')
    await fetcher.close()
  }
})

test('a silent peer, a wrong certificate and nobody at all have failed', async t => {
  await using mute = await startRogue('mute', () => {})
  const fetcher = new PieceFetcher({ credentials: asker, limits: { answerTimeoutMs: 100 } })
  t.after(() => fetcher.close())
  const other = { ...mute.holder, fingerprint: stranger.fingerprint }
  const nobody = holderAt('nobody', 1, asker)
  for (const holder of [mute.holder, other, nobody]) {
    const answer = await fetcher.fetch(holder, wishOf(t, {}))
    assert.ok(answer.kind === 'failed')
  }
  await Promise.all([...mute.connections].map(socket => closed(socket)))
})

test('a kept connection that the peer has closed is replaced without a word', async t => {
  let requests = 0
  await using rogue = await startRogue('rogue', (_head, socket) => {
    requests++
    if (requests === 2) socket.destroy()
    else socket.write('HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  })
  const fetcher = new PieceFetcher({ credentials: asker })
  t.after(() => fetcher.close())
  for (const _ of ['first', 'second']) {
    const answer = await fetcher.fetch(rogue.holder, wishOf(t, {}))
    assert.ok(answer.kind === 'arrived' && answer.bytes.toString() === 'ok')
  }
  assert.equal(requests, 3)
})

test('one connection for each piece at once, up to the bound; so many wait, and no more', async t => {
  const { desk, fetch, relay } = await open(t, { maxPieces: 3, maxWaiting: 4 })
  const turn = Promise.withResolvers<void>()
  const allAsked = Promise.withResolvers<void>()
  desk.answer = async () => {
    if (desk.wanted.length === 3) allAsked.resolve()
    await turn.promise
    return serve()
  }
  const fetches = Array.from({ length: 7 }, (_, index) => fetch({ piece: index }))
  await allAsked.promise
  assert.equal((await fetch()).kind, 'failed')
  turn.resolve()
  for (const answer of await Promise.all(fetches)) assert.equal(answer.kind, 'arrived')
  assert.equal(relay.accepted, 3)
})

test('without a desk, and for what is no piece, there is an answer', async t => {
  await using node = await startHolder('node', memorySource())
  const fetcher = new PieceFetcher({ credentials: asker })
  t.after(() => fetcher.close())
  const answer = await fetcher.fetch(node.holder, wishOf(t, {}))
  assert.deepEqual(answer, { kind: 'busy', retryMs: 1_000 })
  node.server.servePieces(new TestDesk())
  for (const wrong of [{ key: 'a/b' }, { key: '' }, { key: 'a'.repeat(201) }, { piece: -1 }]) {
    assert.equal((await fetcher.fetch(node.holder, wishOf(t, wrong))).kind, 'failed')
  }
})
