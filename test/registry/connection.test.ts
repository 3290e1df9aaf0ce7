import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { RegistryServer, type RequestReport } from '../../src/registry/server.ts'
import { beginUpload, exchange, openRegistry, openSocket, putBlob } from './fixture.ts'

const MIB = 1024 * 1024

test('a TLS client on the plain port is answered in HTTP, however long its ClientHello', async t => {
  const registry = await openRegistry(t)
  for (const length of [10, 1_400, 3_000, 15_000]) {
    const hello = Buffer.alloc(5 + length, 7)
    hello.set([0x16, 0x03, 0x01, length >> 8, length & 0xff])
    const answer = await exchange(t, registry, hello)
    assert.match(answer, /^HTTP\/1\.1 400 Bad Request\r\n/)
    assert.match(answer, /"code":"UNSUPPORTED"/)
  }
  const tls = connectTls({ host: '127.0.0.1', port: registry.port, rejectUnauthorized: false })
  const [error] = await once(tls, 'error').catch(error => [error])
  assert.match(error.code, /^ERR_SSL_/)
})

test('header fields beyond the limit are 431', async t => {
  const registry = await openRegistry(t)
  const answer = await exchange(
    t,
    registry,
    `GET /v2/?${'x'.repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`
  )
  assert.match(answer, /^HTTP\/1\.1 431 /)
})

test('an early refusal reaches a client that is still sending', async t => {
  const registry = await openRegistry(t)
  const path = '/v2/a/blobs/uploads/unknown'
  const client = request({ port: registry.port, method: 'PATCH', path, host: '127.0.0.1' })
  client.on('error', () => {})
  let sentBytes = 0
  let isRefused = false
  client.once('response', () => {
    isRefused = true
  })
  const refused = once(client, 'response')
  for (; sentBytes < 512 * MIB && !isRefused; sentBytes += MIB) {
    if (!client.write(Buffer.alloc(MIB))) await Promise.race([once(client, 'drain'), refused])
  }
  const [response] = await refused
  assert.equal(response.statusCode, 404)
  assert.equal(response.headers.connection, 'close')
  assert.match(await text(response), /BLOB_UPLOAD_UNKNOWN/)
  assert.ok(sentBytes < 64 * MIB, `${sentBytes} bytes were sent`)
  client.destroy()
})

test('a small refused body does not cost the connection', async t => {
  const registry = await openRegistry(t)
  const socket = await openSocket(t, registry)
  const refused = 'PATCH /v2/a/blobs/uploads/x HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n'
  socket.write(`${refused}12345GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
  const statuses = (await text(socket)).match(/HTTP\/1\.1 \d+/g)
  assert.deepEqual(statuses, ['HTTP/1.1 404', 'HTTP/1.1 200'])
})

test('a body held back by Expect is asked for only when it is wanted', async t => {
  const registry = await openRegistry(t)
  const head = (path: string) =>
    `PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n`
  const refused = await exchange(t, registry, `${head('/v2/a/blobs/uploads/x')}\r\n`)
  assert.match(refused, /^HTTP\/1\.1 404 /)

  const path = new URL(await beginUpload(registry)).pathname
  const socket = await openSocket(t, registry)
  socket.write(`${head(path)}Connection: close\r\n\r\n`)
  const [first] = await once(socket, 'data')
  assert.match(String(first), /^HTTP\/1\.1 100 Continue\r\n/)
  socket.write('12345')
  assert.match(await text(socket), /^HTTP\/1\.1 202 /)
})

test('an upload that breaks off goes on where it was', async t => {
  const registry = await openRegistry(t)
  const bytes = Buffer.alloc(3 * MIB, 'upload')
  const location = await beginUpload(registry)
  const stored = Promise.withResolvers<void>()
  const store = registry.content.store.bind(registry.content)
  registry.content.store = async (session, chunk) => {
    await store(session, chunk)
    if (session.offset >= MIB) stored.resolve()
  }
  const closed = Promise.withResolvers<void>()
  const append = registry.content.appendUpload.bind(registry.content)
  registry.content.appendUpload = (...args) => append(...args).finally(closed.resolve)

  const client = request(location, { method: 'PATCH', headers: { 'content-length': bytes.length } })
  client.on('error', () => {})
  client.write(bytes.subarray(0, MIB))
  await stored.promise
  client.destroy()
  await closed.promise

  const status = await fetch(location)
  assert.equal(status.headers.get('range'), `0-${MIB - 1}`)
  const rest = await fetch(location, {
    method: 'PATCH',
    body: bytes.subarray(MIB),
    headers: { 'content-range': `${MIB}-${bytes.length - 1}` }
  })
  assert.equal(rest.status, 202)
  const digest = digestOf(bytes)
  assert.equal((await fetch(`${location}?digest=${digest}`, { method: 'PUT' })).status, 201)
  assert.deepEqual(registry.content.blobs.get(digest), bytes)
})

test('a client that stops sending or reading is cut, one that waits for us is not', async t => {
  const cut = Promise.withResolvers<void>()
  const registry = await openRegistry(t, {
    idleTimeoutMs: 200,
    onRequest: ({ method, status }) => {
      if (method === 'GET' && status === 499) cut.resolve()
    }
  })
  const path = new URL(await beginUpload(registry)).pathname
  const sender = await openSocket(t, registry)
  sender.write(`PATCH ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n123`)
  const silent = await openSocket(t, registry)
  await Promise.all([text(sender), text(silent)])

  // Made before the connection: hashing holds up this process, which serves too.
  const blob = putBlob(registry, 64 * MIB)
  const reader = await openSocket(t, registry)
  reader.write(`GET ${blob.path} HTTP/1.1\r\nHost: x\r\n\r\n`)
  reader.on('error', () => {})
  await cut.promise

  const answer = Promise.withResolvers<void>()
  const upload = registry.content.upload.bind(registry.content)
  registry.content.upload = async (...args) => {
    await answer.promise
    return upload(...args)
  }
  setTimeout(answer.resolve, 700)
  assert.equal((await fetch(registry.url + path)).status, 204)
})

test('requests and bytes are reported by route, once each', async t => {
  const reports: RequestReport[] = []
  const bytes = { received: 0, sent: 0 }
  const registry = await openRegistry(t, {
    onRequest: report => reports.push(report),
    onBytes: (direction, count) => {
      bytes[direction] += count
    }
  })
  const { path } = putBlob(registry, 1000)
  await (await fetch(registry.url + path)).arrayBuffer()
  await fetch(`${registry.url}/v2/A/manifests/x`)
  await fetch(`${registry.url}/nothing`)
  await fetch(await beginUpload(registry), { method: 'PATCH', body: Buffer.alloc(50) })
  await registry.server.close({ deadlineMs: 1000 })
  assert.deepEqual(
    reports.map(({ method, route, status }) => `${method} ${route} ${status}`),
    [
      'GET /v2/:name/blobs/:last 200',
      'GET /v2/:name/manifests/:last 400',
      'GET none 404',
      'POST /v2/:name/blobs/uploads/ 202',
      'PATCH /v2/:name/blobs/uploads/:last 202'
    ]
  )
  assert.ok(reports.every(({ seconds }) => seconds >= 0 && seconds < 10))
  assert.deepEqual(bytes, { received: 50, sent: 1000 })
})

test('closing lets running requests end until the deadline, then cuts them', async t => {
  const registry = await openRegistry(t)
  const { path, bytes } = putBlob(registry, 1000)
  const sources: Readable[] = []
  registry.content.open = () => {
    const source = new Readable({ read() {} })
    sources.push(source)
    return source
  }
  const ending = await fetch(registry.url + path)
  const closing = registry.server.close({ deadlineMs: 60_000 })
  sources[0]?.push(bytes)
  sources[0]?.push(null)
  assert.equal((await ending.arrayBuffer()).byteLength, 1000)
  await closing
  await registry.server.close({ deadlineMs: 0 })
  await assert.rejects(fetch(registry.url + path))

  const other = await openRegistry(t)
  const endless = putBlob(other, 1000)
  other.content.open = () => new Readable({ read() {} })
  const cut = await fetch(other.url + endless.path)
  await Promise.all([other.server.close({ deadlineMs: 50 }), assert.rejects(cut.arrayBuffer())])
})

test('several addresses are listened on, and one that is taken is a configuration error', async t => {
  const { content, port } = await openRegistry(t)
  const free = { host: '127.0.0.1', port: 0 }
  const server = await RegistryServer.open({ listen: [free, free], content, log: silentLog })
  t.after(() => server.close({ deadlineMs: 0 }))
  for (const address of server.addresses) {
    assert.equal((await fetch(`http://127.0.0.1:${address.port}/v2/`)).status, 200)
  }
  const taken = RegistryServer.open({ listen: [free, { ...free, port }], content, log: silentLog })
  await assert.rejects(taken, error => isCode(error, 'CONFIG_INVALID'))
})
