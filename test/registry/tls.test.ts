import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { Agent, type RequestOptions, request } from 'node:https'
import { connect } from 'node:net'
import { buffer, json, text } from 'node:stream/consumers'
import { before, type TestContext, test } from 'node:test'
import { connect as connectTls, type TLSSocket } from 'node:tls'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Guard } from '../../src/registry/auth/guard.ts'
import { GuardedAccess } from '../../src/registry/auth/guarded-access.ts'
import { tokenRoutes } from '../../src/registry/auth/token-route.ts'
import type { RegistryOptions } from '../../src/registry/server.ts'
import { Tls } from '../../src/registry/tls.ts'
import { until } from '../helpers/until.ts'
import { basic, CLUSTER_KEY, htpasswd, temporaryFile } from './auth/fixture.ts'
import { certificate, certificateFiles, type KeyPair } from './certificates.ts'
import { openRegistry, openSocket, type Registry } from './fixture.ts'

const MIB = 1024 * 1024

let server: KeyPair
let authority: KeyPair
before(async () => {
  server = await certificate('registry')
  authority = await certificate('authority')
})

interface Secured extends Registry {
  readonly tls: Tls
  write(next: Partial<KeyPair>, clientCa?: KeyPair): Promise<void>
}

async function openSecured(
  t: TestContext,
  options: Partial<RegistryOptions> = {},
  clientCa?: KeyPair
): Promise<Secured> {
  const { files, write } = await certificateFiles(t, server, clientCa)
  const tls = await Tls.open(files, silentLog)
  t.after(() => tls.close())
  return { ...(await openRegistry(t, { tls, ...options })), tls, write }
}

/** A request over TLS that trusts the registry's certificate. */
async function ask(
  registry: Registry,
  path: string,
  options: RequestOptions & { readonly body?: Buffer } = {}
): Promise<IncomingMessage> {
  const { body, ...rest } = options
  const client = request({ host: '127.0.0.1', port: registry.port, path, ca: server.cert, ...rest })
  client.end(body)
  const [response] = await once(client, 'response')
  return response
}

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
  const stalled = await open(t, registry)
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
  const idle = await open(t, registry)
  idle.write('GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n')
  await once(idle, 'data')
  const response = await ask(registry, `/v2/a/blobs/${digestOf(bytes)}`, { agent: false })
  const closing = registry.server.close({ deadlineMs: 60_000 })
  assert.deepEqual(await buffer(response), bytes)
  await closing
  await Promise.all([text(silent), text(idle)])
})

test('a new certificate is used from the next connection on, and the old ones go on', async t => {
  const registry = await openSecured(t)
  const before = await open(t, registry)
  const next = await certificate('next')
  // As files are often replaced: one after the other, and for a while they do not fit.
  await registry.write({ cert: next.cert })
  await registry.tls.reload()
  assert.equal(await subjectOf(t, registry), 'registry')
  await registry.write({ key: next.key })
  await registry.tls.reload()
  assert.equal(await subjectOf(t, registry), 'next')
  before.end('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  assert.match(await text(before), /^HTTP\/1\.1 200 /)
})

test('a change of the files is seen without being told', async t => {
  const registry = await openSecured(t)
  await registry.write(await certificate('next'))
  await until(async () => (await subjectOf(t, registry)) === 'next', {
    what: 'the new certificate'
  })
})

test('files that cannot be used are refused at start, and named', async t => {
  const { files } = await certificateFiles(t, server, authority)
  const other = await certificateFiles(t, await certificate('other'), server)
  const rejects = (given: Parameters<typeof Tls.open>[0], words: RegExp) =>
    assert.rejects(Tls.open(given, silentLog), error => {
      return isCode(error, 'CONFIG_INVALID') && words.test(error.message)
    })
  await rejects({ ...files, key: other.files.key }, /tls\.key.*mismatch/)
  await rejects({ ...files, cert: `${files.cert}.none` }, /--tls-cert: .*tls\.crt\.none: ENOENT/)
  await rejects({ ...files, cert: files.key }, /cannot use/)
  await rejects({ ...files, clientCa: files.key }, /cannot use/)
})

test('a client certificate logs in the user of its common name, and one of a stranger is refused', async t => {
  const rules = "repositories: { 'a/**': { pull: [ann] }, 'b/**': { pull: [bob] } }"
  const guard = await Guard.open({
    htpasswd: (await temporaryFile(t, htpasswd({ bob: 'b' }))).path,
    policy: (await temporaryFile(t, rules)).path,
    certificates: true,
    clusterKeys: () => [CLUSTER_KEY],
    log: silentLog
  })
  t.after(() => guard.close())
  const access = new GuardedAccess(guard, silentLog)
  const options = { access, otherRoutes: tokenRoutes(guard) }
  const registry = await openSecured(t, options, authority)
  const ann = await certificate('ann', authority)
  const status = async (path: string, given: RequestOptions) => {
    const response = await ask(registry, path, { agent: false, ...given })
    response.resume()
    return response.statusCode
  }
  assert.equal(await status('/v2/a/x/tags/list', ann), 404)
  assert.equal(await status('/v2/b/x/tags/list', ann), 403)
  // What is said in the request is more than how it came.
  assert.equal(await status('/v2/b/x/tags/list', { ...ann, headers: basic('bob', 'b') }), 404)
  assert.equal(await status('/v2/a/x/tags/list', { ...ann, headers: basic('bob', 'x') }), 401)
  assert.equal(await status('/v2/a/x/tags/list', {}), 401)
  assert.equal((await fetch(`${registry.url}/v2/a/x/tags/list`)).status, 401)

  const strange = await certificate('ann', await certificate('authority'))
  await assert.rejects(status('/v2/a/x/tags/list', strange))
  await assert.rejects(status('/v2/a/x/tags/list', await certificate('ann')))

  const response = await ask(registry, '/token?scope=repository:a/x:pull', { agent: false, ...ann })
  const { token } = (await json(response)) as { token: string }
  const headers = { authorization: `Bearer ${token}` }
  assert.equal((await fetch(`${registry.url}/v2/a/x/tags/list`, { headers })).status, 404)
})

test('an authority that was replaced vouches for nobody any more, resumed sessions included', async t => {
  const guard = await Guard.open({
    ...{ certificates: true, clusterKeys: () => [CLUSTER_KEY], log: silentLog }
  })
  t.after(() => guard.close())
  const registry = await openSecured(t, { access: new GuardedAccess(guard, silentLog) }, authority)
  const ann = await certificate('ann', authority)
  const sessions: Buffer[] = []
  const first = await open(t, registry, { ...ann })
  first.on('session', session => sessions.push(session))
  first.end('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  assert.match(await text(first), /^HTTP\/1\.1 200 /)
  await registry.write({}, await certificate('next authority'))
  await registry.tls.reload()
  for (const session of [undefined, ...sessions]) {
    const again = connectTls({
      ...{ host: '127.0.0.1', port: registry.port, ca: server.cert, ...ann },
      ...(session && { session })
    })
    t.after(() => again.destroy())
    again.on('error', () => {})
    again.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    await once(again.resume(), 'close')
    assert.equal(again.bytesRead > 0 && again.isSessionReused(), false)
  }
})

test('over TLS tokens come from https', async t => {
  const users = (await temporaryFile(t, htpasswd({ ann: 'a' }))).path
  const options = { htpasswd: users, clusterKeys: () => [CLUSTER_KEY], log: silentLog }
  const guard = await Guard.open(options)
  t.after(() => guard.close())
  const registry = await openSecured(t, { access: new GuardedAccess(guard, silentLog) })
  const response = await ask(registry, '/v2/', { agent: false })
  const challenge = response.headers['www-authenticate'] ?? ''
  assert.match(challenge, new RegExp(`realm="https://127\\.0\\.0\\.1:${registry.port}/token"`))
  response.resume()
})

async function open(
  t: TestContext,
  registry: Registry,
  options: Partial<KeyPair> = {}
): Promise<TLSSocket> {
  const socket = connectTls({
    ...{ host: '127.0.0.1', port: registry.port, rejectUnauthorized: false, ...options }
  })
  t.after(() => socket.destroy())
  await once(socket, 'secureConnect')
  return socket
}

async function subjectOf(t: TestContext, registry: Registry): Promise<unknown> {
  const socket = await open(t, registry)
  const { subject } = socket.getPeerCertificate()
  socket.destroy()
  return subject.CN
}
