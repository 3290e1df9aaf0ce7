import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect as connectTcp, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type ConnectionOptions, connect, createServer, type TLSSocket } from 'node:tls'
import { type Credentials, createCredentials } from '../../src/swarm/certificate.ts'
import type { Holder } from '../../src/swarm/fetcher.ts'
import { HttpsFetcher } from '../../src/swarm/https-fetcher.ts'
import { tlsOptions } from '../../src/swarm/tls.ts'
import { PATIENCE_MS } from '../helpers/until.ts'
import { asker, closed, holderAt, makeBlob, memorySource, startHolder, stranger } from './peers.ts'
import { inOnePiece, startRelay } from './relay.ts'

const blob = makeBlob(10_000)
const REQUEST = `GET /blobs/${blob.digest} HTTP/1.1\r\nhost: x\r\n\r\n`

function fetcherFor(t: TestContext, credentials: Credentials = asker): HttpsFetcher {
  const fetcher = new HttpsFetcher({ credentials })
  t.after(() => fetcher.close())
  return fetcher
}

async function fetchAll(fetcher: HttpsFetcher, holder: Holder): Promise<Buffer> {
  const { body } = await fetcher.open(holder, blob.digest, 0, AbortSignal.timeout(PATIENCE_MS))
  return Buffer.concat(await body.toArray())
}

/** Writes a request at once, without waiting for the handshake, and gives all that is answered. */
async function askRaw(port: number, options: ConnectionOptions, request = REQUEST) {
  const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options })
  const answered: Buffer[] = []
  const sessions: Buffer[] = []
  socket.on('session', session => sessions.push(session))
  socket.on('data', chunk => answered.push(chunk))
  socket.on('error', () => {})
  let reused = false
  socket.on('secureConnect', () => {
    reused = socket.isSessionReused()
    sessions.push(socket.getSession() ?? Buffer.alloc(0))
  })
  socket.write(request)
  await closed(socket)
  return { text: Buffer.concat(answered).toString(), sessions, reused }
}

/** Gives what was answered once the head has come; the connection is then left as it is. */
async function askPinned(t: TestContext, port: number, options: ConnectionOptions = {}) {
  const socket = connect({ host: '127.0.0.1', port, ...tlsOptions(asker), ...options })
  t.after(() => socket.destroy())
  const sessions: Buffer[] = []
  socket.on('session', session => sessions.push(session))
  socket.write(REQUEST)
  const [chunk] = await once(socket, 'data')
  return { text: String(chunk), sessions, reused: socket.isSessionReused() }
}

test('a client with a wrong certificate gets not one byte, the first time and the second', async t => {
  await using node = await startHolder('node', memorySource(blob))
  const fetcher = fetcherFor(t, stranger)
  for (const _ of ['first', 'second']) {
    await assert.rejects(fetchAll(fetcher, node.holder), { code: 'PEER_FAILED' })
    const raw = await askRaw(node.server.port, tlsOptions(stranger))
    assert.equal(raw.text, '')
  }
})

test('a client with a wrong certificate is not even told that it speaks no HTTP', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const raw = await askRaw(node.server.port, tlsOptions(stranger), 'rubbish\r\n\r\n')
  assert.equal(raw.text, '')
})

test('a client without a certificate gets not one byte', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const raw = await askRaw(node.server.port, {})
  assert.equal(raw.text, '')
})

test('a client that shows a pinned certificate without its key gets not one byte', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const forged = { ...tlsOptions(stranger), cert: asker.cert }
  await assert.rejects(async () => askRaw(node.server.port, forged), {
    code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH'
  })
})

test('a client that sends its request in the same packets as its handshake gets not one byte', async t => {
  await using node = await startHolder('node', memorySource(blob))
  await using relay = await startRelay(node.server.port, inOnePiece)
  assert.equal((await askRaw(relay.port, tlsOptions(stranger))).text, '')
  const allowed = await askPinned(t, relay.port)
  assert.match(allowed.text, /^HTTP\/1\.1 200 /)
})

test('a client that was pinned once gets no session to come back with', async t => {
  let pinned = true
  await using node = await startHolder('node', memorySource(blob), {
    pinned: fingerprint => (pinned && fingerprint === asker.fingerprint ? 'asker' : undefined)
  })
  const first = await askPinned(t, node.server.port)
  assert.match(first.text, /^HTTP\/1\.1 200 /)
  for (const session of first.sessions) {
    const again = await askPinned(t, node.server.port, { session })
    assert.equal(again.reused, false)
  }
  pinned = false
  for (const session of [...first.sessions, undefined]) {
    const raw = await askRaw(node.server.port, {
      ...tlsOptions(asker),
      ...(session && { session })
    })
    assert.equal(raw.text, '')
    assert.equal(raw.reused, false)
  }
})

test('a refused client that offers the session of its first connection is refused again', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const first = await askRaw(node.server.port, tlsOptions(stranger))
  for (const session of first.sessions.filter(({ length }) => length > 0)) {
    const second = await askRaw(node.server.port, { ...tlsOptions(stranger), session })
    assert.equal(second.text, '')
    assert.equal(second.reused, false)
  }
})

test('a connection whose pin has lapsed answers no further request', async t => {
  let pinned = true
  await using node = await startHolder('node', memorySource(blob), {
    pinned: () => (pinned ? 'asker' : undefined)
  })
  const fetcher = fetcherFor(t)
  assert.deepEqual(await fetchAll(fetcher, node.holder), blob.bytes)
  pinned = false
  await assert.rejects(fetchAll(fetcher, node.holder), { code: 'PEER_FAILED' })
})

test('versions before TLS 1.3, and plain HTTP, are not spoken', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const { key, cert } = asker
  const old = { key, cert, minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const
  assert.equal((await askRaw(node.server.port, old)).text, '')

  const plain = connectTcp(node.server.port, '127.0.0.1')
  plain.on('error', () => {})
  const answered: Buffer[] = []
  plain.on('data', chunk => answered.push(chunk))
  plain.write(REQUEST)
  await once(plain, 'close')
  assert.doesNotMatch(Buffer.concat(answered).toString('latin1'), /HTTP/)
})

test('a server with a wrong certificate is sent nothing, the first time and the second', async t => {
  const heard: Buffer[] = []
  const imposter = createServer(tlsOptions(stranger), socket => {
    socket.on('error', () => {})
    socket.on('data', chunk => heard.push(chunk))
  })
  const port = await listen(t, imposter)
  const fetcher = fetcherFor(t)
  const expected = holderAt('node', port, await createCredentials())
  for (const _ of ['first', 'second']) {
    const left = once(imposter, 'connection').then(([socket]) => closed(socket))
    await assert.rejects(fetchAll(fetcher, expected), { code: 'PEER_REFUSED' })
    await left
  }
  assert.deepEqual(heard, [])
})

test('a server that hands out sessions is met with a whole handshake each time', async t => {
  const credentials = await createCredentials()
  const reused: boolean[] = []
  const generous = createServer(
    { ...tlsOptions(credentials), secureOptions: 0 },
    (socket: TLSSocket) => {
      reused.push(socket.isSessionReused())
      socket.on('error', () => {})
      socket.once('data', () => {
        socket.end(`HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok`)
      })
    }
  )
  const port = await listen(t, generous)
  const fetcher = fetcherFor(t)
  for (const _ of ['first', 'second', 'third']) {
    assert.equal(String(await fetchAll(fetcher, holderAt('node', port, credentials))), 'ok')
  }
  assert.deepEqual(reused, [false, false, false])
})

test('a holder that changes its certificate is met with the new pin at once', async t => {
  const fetcher = fetcherFor(t)
  const first = await startHolder('node', memorySource(blob))
  assert.deepEqual(await fetchAll(fetcher, first.holder), blob.bytes)
  const { port } = first.server
  await first.server.close()
  await using second = await startHolder('node', memorySource(blob), { port })
  await assert.rejects(fetchAll(fetcher, first.holder), { code: 'PEER_REFUSED' })
  assert.deepEqual(await fetchAll(fetcher, second.holder), blob.bytes)
})

test('dates are not looked at, pins are', async t => {
  const past = { from: new Date('2001-01-01'), until: new Date('2001-02-01') }
  const future = { from: new Date('2999-01-01'), until: new Date('2999-02-01') }
  const expired = await createCredentials(past)
  const early = await createCredentials(future)
  await using node = await startHolder('node', memorySource(blob), {
    credentials: early,
    pinned: fingerprint => (fingerprint === expired.fingerprint ? 'expired' : undefined)
  })
  assert.deepEqual(await fetchAll(fetcherFor(t, expired), node.holder), blob.bytes)
  const other = fetcherFor(t, await createCredentials(past))
  await assert.rejects(fetchAll(other, node.holder), { code: 'PEER_FAILED' })
  const unpinned = { ...node.holder, fingerprint: asker.fingerprint }
  await assert.rejects(fetchAll(fetcherFor(t, expired), unpinned), { code: 'PEER_REFUSED' })
})

async function listen(t: TestContext, server: ReturnType<typeof createServer>): Promise<number> {
  const open = new Set<Socket>()
  server.on('connection', socket => open.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(async () => {
    for (const socket of open) socket.destroy()
    server.close()
    await once(server, 'close')
  })
  return (server.address() as AddressInfo).port
}
