import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { assertError, beginUpload, openRegistry, putBlob, type Registry } from './fixture.ts'

const MIB = 1024 * 1024

test('a push is read no faster than it is stored', async t => {
  const received = { bytes: 0 }
  const registry = await openRegistry(t, {
    onBytes: (direction, count) => {
      if (direction === 'received') received.bytes += count
    }
  })
  const blocked = Promise.withResolvers<void>()
  const store = registry.content.store.bind(registry.content)
  registry.content.store = async (session, chunk) => {
    await blocked.promise
    await store(session, chunk)
  }
  const bytes = Buffer.alloc(16 * MIB, 1)
  const client = request(await beginUpload(registry), { method: 'PATCH' })
  client.write(bytes)
  await quiet(registry)
  assert.ok(received.bytes <= MIB, `${received.bytes} bytes were taken`)
  blocked.resolve()
  client.end()
  const [response] = await once(client, 'response')
  assert.equal(response.statusCode, 202)
  assert.equal(received.bytes, bytes.length)
})

test('a blob is read no faster than the client takes it, and not at all when it goes', async t => {
  const registry = await openRegistry(t)
  const { path } = putBlob(registry, 64 * MIB)
  let readBytes = 0
  const closed = Promise.withResolvers<void>()
  registry.content.open = bytes => {
    const source = Readable.from(chunksOf(bytes, count => (readBytes += count)))
    source.once('close', closed.resolve)
    return source
  }
  const client = request({ host: '127.0.0.1', port: registry.port, path }).end()
  const [response] = await once(client, 'response')
  response.pause()
  await quiet(registry)
  assert.ok(readBytes < 32 * MIB, `${readBytes} bytes were read`)
  client.destroy()
  await closed.promise
})

test('a source that fails or ends too soon cuts the connection instead of ending the body', async t => {
  const registry = await openRegistry(t)
  const { path } = putBlob(registry, 3 * MIB)
  const sources = [
    (bytes: Buffer) => Readable.from([bytes.subarray(0, MIB)]),
    (bytes: Buffer) => Readable.from(failing(bytes.subarray(0, MIB))),
    (bytes: Buffer) => Readable.from([bytes.subarray(0, MIB), bytes])
  ]
  for (const open of sources) {
    registry.content.open = open
    const response = await fetch(registry.url + path)
    assert.equal(response.status, 200)
    await assert.rejects(response.arrayBuffer())
  }
})

test('a source that cannot be opened is an error, not a broken 200', async t => {
  const registry = await openRegistry(t)
  const { path } = putBlob(registry, 3)
  registry.content.open = () => {
    throw new Error('gone')
  }
  await assertError(await fetch(registry.url + path), 500, 'UNKNOWN')
})

test('headers are sent before the first byte is there', async t => {
  const registry = await openRegistry(t)
  const { path, bytes } = putBlob(registry, 1000)
  const source = new Readable({ read() {} })
  registry.content.open = () => source
  const response = await fetch(registry.url + path)
  assert.equal(response.headers.get('content-length'), '1000')
  source.push(bytes)
  source.push(null)
  assert.equal((await response.arrayBuffer()).byteLength, 1000)
})

/** Gives the server many turns: whatever back-pressure does not hold back has moved afterwards. */
async function quiet({ url }: Registry): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await (await fetch(`${url}/v2/`)).arrayBuffer()
}

function* chunksOf(bytes: Buffer, onRead: (count: number) => void): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += MIB) {
    onRead(MIB)
    yield bytes.subarray(at, at + MIB)
  }
}

async function* failing(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes
  throw new Error('the peer went')
}
