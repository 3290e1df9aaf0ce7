import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type IncomingMessage, request as sendRequest } from 'node:http'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { StarlingError } from '../../src/errors.ts'
import type { Access } from '../../src/registry/access.ts'
import type { RegistryOptions } from '../../src/registry/server.ts'
import type { Forwarded, UploadHomes } from '../../src/registry/upload-homes.ts'
import { Relay } from '../../src/swarm/relay.ts'
import { until } from '../helpers/until.ts'
import { asker, memorySource, startHolder } from '../swarm/peers.ts'
import { assertError, locationOf, openRegistry, type Registry } from './fixture.ts'

/** Two registries with the blob plane between them: uploads are at `home`, requests go to `entry`. */
interface Pair {
  readonly home: Registry
  readonly entry: Registry
  readonly relay: Relay
  readonly holder: Awaited<ReturnType<typeof startHolder>>['holder']
  /** What `entry` passed on. */
  readonly forwarded: Forwarded[]
}

const USER_ACCESS: Access = {
  check: async () => {},
  mayPull: () => true,
  mayPush: () => true,
  principal: ({ headers }) => String(headers['x-user'] ?? '')
}

async function openPair(t: TestContext, options: Partial<RegistryOptions> = {}): Promise<Pair> {
  const home = await openRegistry(t, { access: USER_ACCESS, homes: homes('home') })
  const node = await startHolder('home', memorySource())
  const relay = new Relay({ credentials: asker })
  t.after(async () => {
    await relay.close()
    await node.server.close()
  })
  node.server.relayTo((request, response) => home.server.answerRelayed(request, response))
  const forwarded: Forwarded[] = []
  const entry = await openRegistry(t, {
    access: USER_ACCESS,
    homes: homes('entry', async (mark, request, signal) => {
      forwarded.push(request)
      return mark === 'home' ? relay.send(node.holder, request, signal) : undefined
    }),
    ...options
  })
  return { home, entry, relay, holder: node.holder, forwarded }
}

function homes(here: string, forward: UploadHomes['forward'] = unreachable): UploadHomes {
  return { here, forward }
}

async function unreachable(): Promise<undefined> {
  throw new StarlingError('PEER_FAILED', 'nobody answers')
}

/** Begins an upload at home, and gives its URL at the other node. */
async function begin({ home, entry }: Pair, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(`${home.url}/v2/app/blobs/uploads/`, { method: 'POST', headers })
  assert.equal(response.status, 202)
  return locationOf(entry, response)
}

test('an upload goes on at another node than its own: chunks, status and the close', async t => {
  const pair = await openPair(t)
  const url = await begin(pair)
  const first = await fetch(url, {
    method: 'PATCH',
    headers: { 'content-range': '0-4' },
    body: 'hello'
  })
  assert.equal(first.status, 202, await first.text())
  assert.equal(first.headers.get('range'), '0-4')
  assert.equal(locationOf(pair.entry, first), url)

  for (const method of ['GET', 'HEAD']) {
    const status = await fetch(url, { method })
    assert.equal(status.status, 204)
    assert.equal(status.headers.get('range'), '0-4')
    assert.equal(locationOf(pair.entry, status), url)
  }

  const wrong = await fetch(url, {
    method: 'PATCH',
    headers: { 'content-range': '7-9' },
    body: 'xyz'
  })
  assert.equal(wrong.headers.get('range'), '0-4')
  await assertError(wrong, 416, 'RANGE_INVALID')

  const digest = digestOf(Buffer.from('hello you'))
  const closed = await fetch(`${url}?digest=${encodeURIComponent(digest)}`, {
    method: 'PUT',
    headers: { 'content-range': '5-8' },
    body: ' you'
  })
  assert.equal(closed.status, 201)
  assert.equal(closed.headers.get('location'), `/v2/app/blobs/${digest}`)
  assert.equal(closed.headers.get('docker-content-digest'), digest)
  assert.deepEqual(pair.home.content.blobs.get(digest), Buffer.from('hello you'))
  await assertError(await fetch(url), 404, 'BLOB_UPLOAD_UNKNOWN')
})

test('an upload is closed without a body, and cancelled, through another node', async t => {
  const pair = await openPair(t)
  const [one, two] = [await begin(pair), await begin(pair)]
  const empty = digestOf(Buffer.alloc(0))
  assert.equal((await fetch(`${one}?digest=${empty}`, { method: 'PUT' })).status, 201)
  assert.equal((await fetch(two, { method: 'DELETE' })).status, 204)
  assert.equal(pair.home.content.sessions.size, 0)
})

test('a body of no known length is passed on as it comes, no faster than it is stored', async t => {
  let receivedBytes = 0
  let mostUnderway = 0
  const pair = await openPair(t, {
    onBytes: (_direction, count) => {
      receivedBytes += count
    }
  })
  const { content } = pair.home
  const store = content.store.bind(content)
  content.store = async (session, chunk) => {
    await new Promise(resolve => setImmediate(resolve))
    await store(session, chunk)
    mostUnderway = Math.max(mostUnderway, receivedBytes - session.offset)
  }
  const chunk = Buffer.alloc(1024 * 1024, 7)
  const url = await begin(pair)
  const response = await fetch(url, {
    method: 'PATCH',
    duplex: 'half',
    body: Readable.toWeb(Readable.from(Array<Buffer>(64).fill(chunk)))
  } as RequestInit)
  assert.equal(response.headers.get('range'), `0-${64 * chunk.length - 1}`)
  assert.ok(mostUnderway < 16 * chunk.length, `${mostUnderway} bytes were under way`)
})

test('a body is asked for only once the node of the upload wants it', async t => {
  const pair = await openPair(t)
  const url = await begin(pair)
  const headers = { expect: '100-continue', 'content-length': '5' }

  const wanted = sendRequest(url, { method: 'PATCH', headers })
  await once(wanted, 'continue')
  const [accepted] = (await once(wanted.end('hello'), 'response')) as [IncomingMessage]
  assert.equal(accepted.statusCode, 202)
  assert.equal(accepted.resume().headers.range, '0-4')

  const refused = sendRequest(url, {
    method: 'PATCH',
    headers: { ...headers, 'content-range': '9-13' }
  })
  refused.once('continue', () => assert.fail('the body was asked for'))
  const [answer] = (await once(refused, 'response')) as [IncomingMessage]
  assert.equal(answer.statusCode, 416)
  assert.equal(answer.headers.connection, 'close')
  refused.destroy()
})

test('what came before a client broke off is kept, and the upload is free again', async t => {
  const pair = await openPair(t)
  const url = await begin(pair)
  const broken = sendRequest(url, { method: 'PATCH', headers: { 'content-length': '1000' } })
  broken.on('error', () => {})
  broken.write('hello')
  const offsetAtHome = () => [...pair.home.content.sessions.values()][0]
  await until(() => offsetAtHome()?.offset === 5, { what: 'five bytes' })
  broken.destroy()
  await until(() => offsetAtHome()?.writing === false, { what: 'the writer' })
  const rest = await fetch(url, { method: 'PATCH', body: ' again' })
  assert.equal(rest.headers.get('range'), '0-10')
})

test('a failure in the middle of a body reaches the client that is still sending', async t => {
  const pair = await openPair(t)
  pair.home.content.store = async () => {
    throw new StarlingError('DISK_FULL', 'no room')
  }
  const url = await begin(pair)
  const sending = sendRequest(url, { method: 'PATCH', headers: { 'content-length': '900000000' } })
  sending.on('error', () => {})
  sending.write(Buffer.alloc(100_000))
  const [answer] = (await once(sending, 'response')) as [IncomingMessage]
  assert.equal(answer.statusCode, 413)
  const [body] = (await once(answer.setEncoding('utf8'), 'data')) as [string]
  assert.equal(JSON.parse(body).errors[0].code, 'DENIED')
  sending.destroy()
})

test('the other node is told who the client is, and nothing that proved it', async t => {
  const pair = await openPair(t)
  const url = await begin(pair, { 'x-user': 'älice' })
  const send = (user: string) => {
    const secrets = { authorization: 'Basic c2VjcmV0', cookie: 'secret' }
    const forged = { 'starling-principal': Buffer.from('älice').toString('base64url') }
    return fetch(url, { headers: { ...secrets, ...forged, 'x-user': user } })
  }
  await assertError(await send('bob'), 404, 'BLOB_UPLOAD_UNKNOWN')
  assert.deepEqual(
    pair.forwarded.map(({ headers }) => headers),
    [{ 'starling-principal': Buffer.from('bob').toString('base64url') }]
  )
  assert.equal((await send('älice')).status, 204)
})

test('who a client says it is has no weight at its own node either', async t => {
  const pair = await openPair(t)
  const url = (await begin(pair, { 'x-user': 'alice' })).replace(pair.entry.url, pair.home.url)
  const headers = { 'starling-principal': Buffer.from('alice').toString('base64url') }
  await assertError(await fetch(url, { headers }), 404, 'BLOB_UPLOAD_UNKNOWN')
  assert.equal((await fetch(url, { headers: { 'x-user': 'alice' } })).status, 204)
})

test('who may not push is refused where it asks, and nothing is passed on', async t => {
  const check = async () => {
    throw new StarlingError('DENIED', 'not allowed')
  }
  const pair = await openPair(t, { access: { ...USER_ACCESS, check } })
  await assertError(await fetch(await begin(pair), { method: 'DELETE' }), 403, 'DENIED')
  assert.deepEqual(pair.forwarded, [])
})

test('what is passed on reaches one repository, and uploads of that node alone', async t => {
  const { relay, holder, home } = await openPair(t)
  const ask = async (method: string, path: string) => {
    const { status } = await relay.send(holder, { method, path, headers: {} }, t.signal)
    return status
  }
  assert.equal(await ask('GET', '/v2/_catalog'), 403)
  for (const [method, path] of [
    ['GET', '/v2/app/tags/list'],
    ['DELETE', '/v2/app/manifests/v1'],
    ['GET', '/v2/app/blobs/uploads/session-1.elsewhere'],
    ['GET', '/v2/app/blobs/uploads/session-1'],
    ['GET', '/v2/app/blobs/uploads/..%2f..%2fx.home']
  ] as const) {
    assert.equal(await ask(method, path), 404, path)
  }
  assert.equal(home.content.sessions.size, 0)
})

test('an upload is unknown when its node is not live, and unavailable when it does not answer', async t => {
  const gone = await openRegistry(t, { homes: homes('entry', async () => undefined) })
  const path = '/v2/app/blobs/uploads/0d9e2b6c-6f0e-4b57-9a0e-7d2f3c1b5a4e.home'
  for (const method of ['GET', 'PATCH', 'DELETE']) {
    await assertError(await fetch(gone.url + path, { method }), 404, 'BLOB_UPLOAD_UNKNOWN')
  }
  const silent = await openRegistry(t, { homes: homes('entry') })
  const response = await fetch(silent.url + path, { method: 'PATCH', body: 'hello' })
  assert.ok(Number(response.headers.get('retry-after')) > 0)
  await assertError(response, 503, 'UNAVAILABLE')
})
