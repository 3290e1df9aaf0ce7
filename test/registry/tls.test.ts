import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, request } from 'node:https'
import { connect } from 'node:net'
import { buffer, text } from 'node:stream/consumers'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { digestOf } from '../../src/digest.ts'
import { openSocket } from './fixture.ts'
import { ask, openSecured, openTls, server } from './secured.ts'

const MIB = 1024 * 1024

test('one port speaks TLS and plain HTTP, and an image is pushed by one and pulled by the other', async t => {
  const registry = await openSecured(t)
  const bytes = Buffer.alloc(5 * MIB, 'blob')
  const path = `/v2/a/blobs/uploads/?digest=${digestOf(bytes)}`
  const pushed = await ask(registry, path, { method: 'POST', body: bytes, agent: false })
  assert.equal(pushed.statusCode, 201)
  const pulled = await fetch(`${registry.url}/v2/a/blobs/${digestOf(bytes)}`)
  assert.deepEqual(Buffer.from(await pulled.arrayBuffer()), bytes)

  const other = Buffer.alloc(5 * MIB, 'other')
  const url = `${registry.url}/v2/a/blobs/uploads/?digest=${digestOf(other)}`
  assert.equal((await fetch(url, { method: 'POST', body: other })).status, 201)
  const secured = await ask(registry, `/v2/a/blobs/${digestOf(other)}`, { agent: false })
  assert.deepEqual(await buffer(secured), other)
})

test('the first byte may come late, alone, or with all the rest', async t => {
  const registry = await openSecured(t)
  const head = 'GET /v2/ HTTP/1.1\r\nHost: x\r\n'
  const whole = await openSocket(t, registry)
  whole.end(`${head}\r\n${head}Connection: close\r\n\r\n`)
  assert.deepEqual((await text(whole)).match(/HTTP\/1\.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 200'])
  const bit = await openSocket(t, registry)
  bit.setNoDelay(true)
  for (const byte of `${head}Connection: close\r\n\r\n`) {
    bit.write(byte)
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.match(await text(bit), /^HTTP\/1\.1 200 /)

  const raw = await openSocket(t, registry)
  const pipe = connect({ host: '127.0.0.1', port: registry.port })
  t.after(() => pipe.destroy())
  const tls = connectTls({ socket: pipe, ca: server.cert, host: '127.0.0.1' })
  tls.end(`${head}Connection: close\r\n\r\n`)
  assert.match(await text(tls), /^HTTP\/1\.1 200 /)
  raw.write('no HTTP\r\n\r\n')
  assert.match(await text(raw), /^HTTP\/1\.1 400 /)
})

test('connections of both kinds are kept alive', async t => {
  const registry = await openSecured(t)
  const agent = new Agent({ keepAlive: true, maxSockets: 1, ca: server.cert })
  t.after(() => agent.destroy())
  const sockets = new Set<unknown>()
  for (let i = 0; i < 5; i++) {
    const client = request({ host: '127.0.0.1', port: registry.port, path: '/v2/', agent }).end()
    const [response] = await once(client, 'response')
    sockets.add(client.socket)
    await text(response)
  }
  assert.equal(sockets.size, 1)

  const plain = await openSocket(t, registry)
  const one = 'GET /v2/ HTTP/1.1\r\nHost: x\r\n'
  for (let i = 0; i < 3; i++) {
    plain.write(`${one}\r\n`)
    const [answer] = await once(plain, 'data')
    assert.match(String(answer), /^HTTP\/1\.1 200 /)
  }
})

test('a push is read no faster than it is stored, over TLS and over plain HTTP', async t => {
  const received = { bytes: 0 }
  const registry = await openSecured(t, {
    onBytes: (direction, count) => {
      if (direction === 'received') received.bytes += count
    }
  })
  const bytes = Buffer.alloc(16 * MIB, 1)
  const blocked = Promise.withResolvers<void>()
  const store = registry.content.store.bind(registry.content)
  registry.content.store = async (session, chunk) => {
    await blocked.promise
    await store(session, chunk)
  }
  const path = `/v2/a/blobs/uploads/?digest=${digestOf(bytes)}`
  const secured = ask(registry, path, { method: 'POST', body: bytes, agent: false })
  const plain = fetch(registry.url + path, { method: 'POST', body: bytes })
  // Other requests get their turn all the while.
  for (let i = 0; i < 20; i++) await fetch(`${registry.url}/v2/`)
  assert.ok(received.bytes <= 2 * MIB, `${received.bytes} bytes were taken`)
  blocked.resolve()
  assert.equal((await secured).statusCode, 201)
  assert.equal((await plain).status, 201)
})

test('a request over TLS has no time limit while it moves, and one that stops is cut', async t => {
  const registry = await openSecured(t, { idleTimeoutMs: 200 })
  const stalled = await openTls(t, registry)
  stalled.write('PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Len')
  const silent = await openSocket(t, registry)
  await Promise.all([text(stalled), text(silent)])
})

test('a client that begins TLS and goes on with nonsense is cut, and others are served', async t => {
  const registry = await openSecured(t)
  const socket = await openSocket(t, registry)
  socket.write(Buffer.from([0x16, 0x03, 0x01, 0x00, 0x05, 1, 2, 3, 4, 5]))
  await once(socket.resume(), 'end')
  const old = connectTls({
    ...{ host: '127.0.0.1', port: registry.port, ca: server.cert },
    ...{ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }
  })
  await assert.rejects(once(old, 'secureConnect'))
  assert.equal((await fetch(`${registry.url}/v2/`)).status, 200)
})

test('closing waits for requests over TLS and for nobody who has not said anything', async t => {
  const registry = await openSecured(t)
  const bytes = Buffer.alloc(1_000, 'x')
  registry.content.blobs.set(digestOf(bytes), bytes)
  const silent = await openSocket(t, registry)
  const idle = await openTls(t, registry)
  idle.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(idle, 'data')
  const response = await ask(registry, `/v2/a/blobs/${digestOf(bytes)}`, { agent: false })
  const closing = registry.server.close({ deadlineMs: 60_000 })
  assert.deepEqual(await buffer(response), bytes)
  await closing
  await Promise.all([text(silent), text(idle)])
})
