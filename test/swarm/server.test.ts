import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { connect as connectPlain } from 'node:net'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { connect } from 'node:tls'
import { StarlingError } from '../../src/errors.ts'
import type { BlobSource } from '../../src/swarm/send-blob.ts'
import { tlsOptions } from '../../src/swarm/tls.ts'
import { asker, closed, makeBlob, memorySource, startHolder } from './peers.ts'

const blob = makeBlob(100_000)
const PATH = `/blobs/${blob.digest}`

interface Reply {
  readonly status: number | undefined
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

async function ask(
  port: number,
  path: string,
  { range, method = 'GET' }: { range?: string; method?: string } = {}
): Promise<Reply> {
  const headers = range === undefined ? {} : { range }
  const options = { ...tlsOptions(asker), agent: false, host: '127.0.0.1', port }
  const sent = request({ ...options, path, method, headers }).end()
  const [response] = await once(sent, 'response')
  const body = Buffer.concat(await response.toArray())
  return { status: response.statusCode, headers: response.headers, body }
}

test('a blob is given whole, with its size', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const { status, headers, body } = await ask(node.server.port, PATH)
  assert.equal(status, 200)
  assert.equal(headers['content-length'], '100000')
  assert.deepEqual(body, blob.bytes)
})

test('ranges are given as RFC 9110 says', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const cases = [
    { range: 'bytes=0-', status: 206, contentRange: 'bytes 0-99999/100000', from: 0, to: 100_000 },
    { range: 'bytes=7-', status: 206, contentRange: 'bytes 7-99999/100000', from: 7, to: 100_000 },
    { range: 'bytes=7-7', status: 206, contentRange: 'bytes 7-7/100000', from: 7, to: 8 },
    {
      range: 'bytes=9-999999',
      status: 206,
      contentRange: 'bytes 9-99999/100000',
      from: 9,
      to: 100_000
    },
    { range: 'bytes=100000-', status: 416, contentRange: 'bytes */100000', from: 0, to: 0 },
    { range: 'bytes=5-4', status: 400, contentRange: undefined, from: 0, to: 0 },
    { range: 'bytes=-5', status: 400, contentRange: undefined, from: 0, to: 0 },
    { range: 'bytes=0-1,3-4', status: 400, contentRange: undefined, from: 0, to: 0 }
  ]
  for (const { range, status, contentRange, from, to } of cases) {
    const reply = await ask(node.server.port, PATH, { range })
    assert.equal(reply.status, status, range)
    assert.equal(reply.headers['content-range'], contentRange, range)
    assert.deepEqual(reply.body, blob.bytes.subarray(from, to), range)
  }
})

test('HEAD tells the size and sends nothing', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const { status, headers, body } = await ask(node.server.port, PATH, { method: 'HEAD' })
  assert.equal(status, 200)
  assert.equal(headers['content-length'], '100000')
  assert.equal(body.length, 0)
})

test('what is not a blob held here is 404, what is not reading is 405', async () => {
  await using node = await startHolder('node', memorySource(blob))
  const { port } = node.server
  const paths = [`/blobs/${makeBlob(1).digest}`, '/blobs/x', '/', `/blobs/..%2f${blob.digest}`]
  for (const path of paths) assert.equal((await ask(port, path)).status, 404, path)
  assert.equal((await ask(port, PATH, { method: 'DELETE' })).status, 405)
})

test('a blob that goes away between the look and the read is 404', async () => {
  const source: BlobSource = {
    stat: () => ({ sizeBytes: 5 }),
    read: async () => {
      throw new StarlingError('BLOB_UNKNOWN', 'gone')
    }
  }
  await using node = await startHolder('node', source)
  assert.equal((await ask(node.server.port, PATH)).status, 404)
})

test('a source that fails in the middle cuts the answer short, and the server goes on', async () => {
  const source: BlobSource = {
    stat: memorySource(blob).stat,
    read: async (digest, range) =>
      range?.start === 0 ? Readable.from(failing()) : memorySource(blob).read(digest, range)
  }
  await using node = await startHolder('node', source)
  await assert.rejects(ask(node.server.port, PATH), { code: 'ECONNRESET' })
  assert.equal((await ask(node.server.port, PATH, { range: 'bytes=5-' })).status, 206)
})

function* failing(): Generator<Buffer> {
  yield blob.bytes.subarray(0, 10)
  throw new StarlingError('DISK_FAILED', 'rot')
}

test('bytes sent are counted', async () => {
  let sent = 0
  const onSent = (bytes: number) => {
    sent += bytes
  }
  await using node = await startHolder('node', memorySource(blob), { onSent })
  await ask(node.server.port, PATH, { range: 'bytes=60000-' })
  await ask(node.server.port, PATH, { method: 'HEAD' })
  assert.equal(sent, 40_000)
})

/** Gives a first piece of each blob and then nothing, until it is destroyed. */
function endlessSource(): BlobSource & { readonly open: Set<Readable> } {
  const open = new Set<Readable>()
  return {
    open,
    stat: () => ({ sizeBytes: 1_000_000 }),
    async read() {
      const body = new Readable({ read() {} })
      body.push(Buffer.alloc(1_000))
      open.add(body)
      body.once('close', () => open.delete(body))
      return body
    }
  }
}

/** Sends a request and gives the socket once the head of the answer is there. */
async function begin(t: TestContext, port: number) {
  const socket = connect({ host: '127.0.0.1', port, ...tlsOptions(asker) })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  socket.write(`GET ${PATH} HTTP/1.1\r\nhost: x\r\n\r\n`)
  const [chunk] = await once(socket, 'data')
  return { socket, status: Number(String(chunk).slice(9, 12)) }
}

test('above the bound for one peer it is told to come back, until a place is free', async t => {
  const source = endlessSource()
  const limits = { maxResponsesPerPeer: 2 }
  await using node = await startHolder('node', source, { limits })
  const { port } = node.server
  const [first] = await Promise.all([begin(t, port), begin(t, port)])
  const refused = await ask(port, PATH)
  assert.equal(refused.status, 503)
  assert.equal(refused.headers['retry-after'], '1')

  const freed = Promise.race([...source.open].map(closed))
  first.socket.destroy()
  await freed
  assert.equal((await begin(t, port)).status, 200)
})

test('a peer that leaves its socket unread is let go and its source closed', async t => {
  const big = makeBlob(64 * 1024 * 1024)
  const bodies: Readable[] = []
  const source: BlobSource = {
    stat: memorySource(big).stat,
    async read(digest, range) {
      const body = await memorySource(big).read(digest, range)
      bodies.push(body)
      return body
    }
  }
  await using node = await startHolder('node', source, { limits: { stallTimeoutMs: 200 } })
  const socket = connect({ host: '127.0.0.1', port: node.server.port, ...tlsOptions(asker) })
  t.after(() => socket.destroy())
  socket.on('error', () => {})
  socket.write(`GET /blobs/${big.digest} HTTP/1.1\r\nhost: x\r\n\r\n`)
  await once(socket, 'readable')
  const [body] = bodies
  assert.ok(body !== undefined)
  if (!body.closed) await closed(body)
})

test('close is prompt with downloads and handshakes under way, and may be called twice', async t => {
  const source = endlessSource()
  await using node = await startHolder('node', source)
  const { port } = node.server
  const { socket } = await begin(t, port)
  const idle = connect({ host: '127.0.0.1', port, ...tlsOptions(asker) })
  idle.on('error', () => {})
  await once(idle, 'secureConnect')
  const bodies = [...source.open].map(closed)
  const cut = [closed(socket), closed(idle)]
  await Promise.all([node.server.close(), node.server.close(), ...cut, ...bodies])
  assert.equal(source.open.size, 0)
  await assert.rejects(ask(port, PATH), { code: 'ECONNREFUSED' })
})

test('a port that is taken is an error, and an address can be dialled', async () => {
  await using node = await startHolder('node', memorySource(blob))
  assert.equal(node.server.address, `127.0.0.1:${node.server.port}`)
  await assert.rejects(startHolder('other', memorySource(blob), { port: node.server.port }), {
    code: 'CONFIG_INVALID'
  })
})

test('strangers who hold connections open do not keep peers out', async () => {
  await using node = await startHolder('node', memorySource(blob), { limits: { maxStrangers: 4 } })
  const strangers = Array.from({ length: 12 }, () => connectPlain(node.server.port, '127.0.0.1'))
  await Promise.all(strangers.map(stranger => once(stranger, 'connect')))
  assert.equal((await ask(node.server.port, PATH)).status, 200)
  for (const stranger of strangers) stranger.destroy()
})
