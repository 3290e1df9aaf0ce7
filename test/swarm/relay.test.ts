import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import type { TLSSocket } from 'node:tls'
import { Relay, type RelayOptions } from '../../src/swarm/relay.ts'
import { asker, memorySource, startHolder, startRogue, stranger } from './peers.ts'

const STATUS = { method: 'GET', path: '/v2/app/blobs/uploads/1', headers: {} }

function openRelay(t: TestContext, options: Partial<RelayOptions> = {}): Relay {
  const relay = new Relay({ credentials: asker, ...options })
  t.after(() => relay.close())
  return relay
}

/** A body that tells whether it was ever asked for. */
function watchedBody(): { asked: boolean; body: () => AsyncIterable<Uint8Array> } {
  const watched = {
    asked: false,
    async *body() {
      watched.asked = true
      yield Buffer.from('hello')
    }
  }
  return watched
}

test('a node that takes nothing yet says so, and the body stays where it is', async t => {
  await using node = await startHolder('node', memorySource())
  const watched = watchedBody()
  const request = { ...STATUS, method: 'PATCH', body: watched.body }
  const { status, headers } = await openRelay(t).send(node.holder, request, t.signal)
  assert.equal(status, 503)
  assert.equal(headers['retry-after'], '1')
  assert.equal(watched.asked, false)
})

test('only a pinned peer reaches it, and only the pinned node is given a request', async t => {
  await using node = await startHolder('node', memorySource())
  node.server.relayTo(() => assert.fail('a stranger got in'))
  const relay = openRelay(t, { credentials: stranger })
  await assert.rejects(relay.send(node.holder, STATUS, t.signal), { code: 'PEER_FAILED' })
  const impostor = { ...node.holder, fingerprint: stranger.fingerprint }
  const watched = watchedBody()
  const request = { ...STATUS, method: 'PATCH', body: watched.body }
  await assert.rejects(openRelay(t).send(impostor, request, t.signal), { code: 'PEER_REFUSED' })
  assert.equal(watched.asked, false)
})

test('a node that is silent, or sends without end, has failed', async t => {
  await using silent = await startRogue('silent', () => {})
  const relay = openRelay(t, { idleTimeoutMs: 50 })
  await assert.rejects(relay.send(silent.holder, STATUS, t.signal), { code: 'PEER_FAILED' })
  await using endless = await startRogue('endless', (_head, socket) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 900000\r\n\r\n')
    socket.write(Buffer.alloc(100_000))
  })
  await assert.rejects(relay.send(endless.holder, STATUS, t.signal), { code: 'PEER_FAILED' })
})

test('the signal ends it at any time', async t => {
  await using silent = await startRogue('silent', () => leave.abort(new Error('left')))
  const leave = new AbortController()
  await assert.rejects(openRelay(t).send(silent.holder, STATUS, leave.signal), { message: 'left' })
})

test('a kept connection that is closed just then costs nothing', async t => {
  let requests = 0
  await using node = await startRogue('node', (_head, socket: TLSSocket) => {
    if (++requests === 2) socket.destroy()
    else socket.write('HTTP/1.1 204 No Content\r\n\r\n')
  })
  const relay = openRelay(t)
  for (const number of [1, 2]) {
    const { status } = await relay.send(node.holder, STATUS, t.signal)
    assert.equal(status, 204, `request ${number}`)
  }
  assert.equal(requests, 3)
})

test('a body that was begun is not sent a second time', async t => {
  await using node = await startRogue('node', (head, socket) => {
    if (head.startsWith('GET')) socket.write('HTTP/1.1 204 No Content\r\n\r\n')
    else socket.write('HTTP/1.1 100 Continue\r\n\r\n', () => socket.destroy())
  })
  const relay = openRelay(t)
  await relay.send(node.holder, STATUS, t.signal)
  const request = { ...STATUS, method: 'PATCH', body: watchedBody().body }
  await assert.rejects(relay.send(node.holder, request, t.signal), { code: 'PEER_FAILED' })
})

test('what a peer passes on is cut off with it', async t => {
  await using node = await startHolder('node', memorySource())
  const taken = Promise.withResolvers<void>()
  node.server.relayTo((_request, response) => {
    response.writeContinue()
    taken.resolve(once(response, 'close').then(() => undefined))
    node.server.cutRelays('somebody else')
    assert.equal(response.destroyed, false)
    node.server.cutRelays('asker')
  })
  const request = { ...STATUS, method: 'PATCH', body: watchedBody().body }
  await assert.rejects(openRelay(t).send(node.holder, request, t.signal), { code: 'PEER_FAILED' })
  await taken.promise
})
