import assert from 'node:assert/strict'
import { open, truncate, writeFile } from 'node:fs/promises'
import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { generate } from 'selfsigned'
import { digestOf } from '../../src/digest.ts'
import { kernel } from '../../src/kernel.ts'
import { blobPath, layoutOf } from '../../src/store/layout.ts'
import type { RangeStream } from '../../src/store/range-stream.ts'
import { until } from '../helpers/until.ts'
import { MIB, openBlobs, scratch, someBytes } from './scratch.ts'

const bytes = someBytes(6 * MIB + 321)

/** An HTTP server that sends a blob of the store, or the range `?START-END` of it. */
async function serve(t: TestContext, blob = bytes, tls?: { key: string; cert: string }) {
  const digest = digestOf(blob)
  const directory = await scratch(t)
  const blobs = await openBlobs(t, directory)
  await blobs.put(blob, digest)
  const sent = { bytes: 0, failures: 0, portions: [] as number[] }
  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    const [start = 0, end = blob.length] = (request.url?.split('?')[1] ?? '')
      .split('-')
      .filter(text => text !== '')
      .map(Number)
    const stream = (await blobs.read(digest, { start, end })) as RangeStream
    // As the registry does it.
    response.setHeader('content-length', end - start)
    response.flushHeaders()
    try {
      await stream.sendTo(response, count => {
        sent.bytes += count
        sent.portions.push(count)
      })
      response.end()
    } catch {
      sent.failures += 1
      response.destroy()
    }
  }
  const handle = (request: IncomingMessage, response: ServerResponse) =>
    void answer(request, response)
  const server = tls === undefined ? createServer(handle) : createTlsServer(tls, handle)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  return { blobs, digest, file: blobPath(layoutOf(directory), digest), port, sent }
}

async function fetchBytes(port: number, range = ''): Promise<Buffer> {
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get({ port, path: `/?${range}` }, resolve).once('error', reject)
  )
  return buffer(response)
}

test('the kernel moves a file into a socket, as much as there is room for', async t => {
  const found = kernel()
  if (found === undefined) return t.skip('not on this system')
  const path = join(await scratch(t), 'file')
  await writeFile(path, bytes)
  const file = await open(path)
  const into = await open(join(await scratch(t), 'other'), 'w+')
  t.after(() => Promise.all([file.close(), into.close()]))

  assert.equal(await found.sendFile(into.fd, file.fd, 100, MIB), MIB)
  assert.equal(await found.sendFile(into.fd, file.fd, bytes.length - 7, MIB), 7)
  assert.equal(await found.sendFile(into.fd, file.fd, bytes.length, MIB), 0)
  const got = Buffer.alloc(MIB + 7)
  await into.read(got, 0, got.length, 0)
  assert.ok(got.subarray(0, MIB).equals(bytes.subarray(100, MIB + 100)))
  assert.ok(got.subarray(MIB).equals(bytes.subarray(-7)))
  assert.equal(await found.sendFile(9_999_999, file.fd, 0, MIB), 0, 'no such socket')

  const copy = found.duplicate(into.fd)
  assert.ok(copy >= 0)
  found.close(copy)
  assert.equal(await found.sendFile(copy, file.fd, 0, MIB), 0)
})

test('ranges go out whole and counted, one answer after the other on one connection', async t => {
  const { port, sent } = await serve(t)
  for (const [start, end] of [
    [0, bytes.length],
    [1, 3 * MIB],
    [bytes.length - 2 * MIB, bytes.length],
    [5, 6]
  ] as const) {
    sent.bytes = 0
    const got = await fetchBytes(port, `${start}-${end}`)
    assert.ok(got.equals(bytes.subarray(start, end)), `${start}-${end}`)
    await until(() => sent.bytes === end - start, { what: 'all of it to be counted' })
  }
})

test('answers to requests that came at once follow each other', async t => {
  const { port } = await serve(t)
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  const request = 'GET /? HTTP/1.1\r\nhost: x\r\n\r\n'
  socket.write(request + request + request.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
  const all = await buffer(socket)
  let at = 0
  for (const _ of ['first', 'second', 'third']) {
    const body = all.indexOf('\r\n\r\n', at) + 4
    assert.ok(all.subarray(body, body + bytes.length).equals(bytes))
    at = body + bytes.length
  }
  assert.equal(at, all.length)
})

test('the kernel moves what is large, behind a first portion that tells when the head is out', async t => {
  if (kernel() === undefined) return t.skip('not on this system')
  const { port, sent } = await serve(t)
  await fetchBytes(port)
  const [first, ...others] = sent.portions
  assert.equal(first, 64 * 1024)
  assert.ok(others.some(bytes => bytes > MIB))
  sent.portions.length = 0
  await fetchBytes(port, `0-${MIB - 1}`)
  assert.notEqual(sent.portions[0], 64 * 1024, 'and not what is small')
})

test('nothing of an encrypted answer goes past the encryption, were its turn to come late', async t => {
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'test' }], {
    keyType: 'ec'
  })
  const { port } = await serve(t, bytes, { key, cert })
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false })
  t.after(() => socket.destroy())
  const request = 'GET /? HTTP/1.1\r\nhost: x\r\n\r\n'
  socket.write(request + request.replace('\r\n\r\n', '\r\nconnection: close\r\n\r\n'))
  const all = await buffer(socket)
  const first = all.indexOf('\r\n\r\n') + 4
  const second = all.indexOf('\r\n\r\n', first + bytes.length) + 4
  for (const body of [first, second]) {
    assert.ok(all.subarray(body, body + bytes.length).equals(bytes))
  }
})

test('more moves than there are threads for go the ordinary way', async t => {
  const { port } = await serve(t)
  const all = await Promise.all(Array.from({ length: 12 }, () => fetchBytes(port)))
  for (const got of all) assert.ok(got.equals(bytes))
})

test('a reader that takes its time gets every byte', async t => {
  const { port } = await serve(t)
  const socket = connect({ port, host: '127.0.0.1', readableHighWaterMark: 1024 } as never)
  t.after(() => socket.destroy())
  socket.write('GET /? HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n')
  const chunks: Buffer[] = []
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    await new Promise(resolve => setImmediate(resolve))
  }
  assert.ok(Buffer.concat(chunks).subarray(-bytes.length).equals(bytes))
})

test('a reader that leaves frees the file and the connection', async t => {
  const { port, sent } = await serve(t)
  for (let round = 1; round <= 5; round++) {
    const socket: Socket = connect(port, '127.0.0.1')
    socket.write('GET /? HTTP/1.1\r\nhost: x\r\n\r\n')
    await new Promise(resolve => socket.once('readable', resolve))
    socket.destroy()
    await until(() => sent.failures === round, { what: 'the answer to break off' })
  }
  assert.ok((await fetchBytes(port)).equals(bytes))
})

test('a file that was cut short breaks the answer off, and is no longer held', async t => {
  // More than the kernel keeps for a connection that is not read from.
  const { blobs, digest, file, port } = await serve(t, someBytes(48 * MIB))
  const socket = connect(port, '127.0.0.1')
  t.after(() => socket.destroy())
  socket.write('GET /? HTTP/1.1\r\nhost: x\r\n\r\n')
  await new Promise(resolve => socket.once('readable', resolve))
  await truncate(file, 40 * MIB)
  let gotBytes = 0
  await assert.rejects(async () => {
    for await (const chunk of socket as AsyncIterable<Buffer>) gotBytes += chunk.length
    if (gotBytes < 48 * MIB) throw new Error('the connection ended')
  })
  assert.ok(gotBytes < 41 * MIB)
  await until(() => blobs.stat(digest) === undefined, { what: 'the damage to be noticed' })
})
