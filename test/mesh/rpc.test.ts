import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import type { RequestHandler } from '../../src/mesh/mesh-options.ts'
import { PATIENCE_MS } from '../helpers/until.ts'
import { allLive, Flock, until } from './helpers/flock.ts'

const failed = (error: unknown) => isCode(error, 'PEER_FAILED')

/** One node that answers, and one that asks. */
async function pair(context: TestContext, handler: RequestHandler, maxBytes = 1_000) {
  const flock = new Flock(context)
  const server = await flock.open('server')
  server.handle('test', maxBytes, handler)
  await flock.start(server)
  const client = await flock.add('client', { join: [server.address] })
  await until(() => allLive([server, client]))
  return (payload: Uint8Array, options = {}) =>
    client.request(server.id, 'test', payload, {
      signal: AbortSignal.timeout(PATIENCE_MS),
      maxBytes: 1_000,
      ...options
    })
}

test('payloads up to the limits pass, empty ones too', async context => {
  const ask = await pair(context, async (_peer, payload) => payload)
  for (const size of [0, 1, 1_000]) {
    assert.equal((await ask(Buffer.alloc(size, 7))).length, size)
  }
})

test('a megabyte passes both ways', async context => {
  const size = 1024 * 1024
  const ask = await pair(context, async (_peer, payload) => payload, size)
  const payload = Buffer.alloc(size, 7)
  const answer = await ask(payload, { maxBytes: size })
  assert.ok(payload.equals(answer))
})

test('a request above the limit is cut off before the handler sees it', async context => {
  let called = false
  const ask = await pair(context, async () => {
    called = true
    return Buffer.of()
  })
  await assert.rejects(ask(Buffer.alloc(100_000)), failed)
  assert.equal(called, false)
})

test('an answer above the limit is cut off', async context => {
  const ask = await pair(context, async () => Buffer.alloc(1_000_000))
  await assert.rejects(ask(Buffer.of()), failed)
})

test('a handler that stays silent is given up on, and learns that nobody waits', async context => {
  const left = Promise.withResolvers<void>()
  const ask = await pair(
    context,
    (_peer, _payload, signal) =>
      new Promise(() => signal.addEventListener('abort', () => left.resolve()))
  )
  await assert.rejects(ask(Buffer.of(), { signal: AbortSignal.timeout(200) }), failed)
  await left.promise
})

test('a handler that throws is heard in words if they are ours', async context => {
  const ask = await pair(context, async () => {
    throw new Error('/secret/path')
  })
  await assert.rejects(
    ask(Buffer.of()),
    error => failed(error) && !String(error).includes('/secret')
  )
})

test('many requests at once are all answered', async context => {
  const ask = await pair(context, async (_peer, payload) => payload)
  const answers = await Promise.all(Array.from({ length: 50 }, (_, index) => ask(Buffer.of(index))))
  assert.deepEqual(
    answers.map(answer => answer[0]),
    Array.from({ length: 50 }, (_, index) => index)
  )
})
