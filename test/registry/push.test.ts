import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Algorithm, digestOf } from '../../src/digest.ts'
import { StarlingError } from '../../src/errors.ts'
import { OPEN_ACCESS } from '../../src/registry/access.ts'
import { assertError, locationOf, openRegistry, type Registry } from './fixture.ts'

const BYTES = Buffer.from('some bytes that are pushed')
const DIGEST = digestOf(BYTES)
const OTHER = digestOf(Buffer.from('others'))

async function start(registry: Registry, repository = 'a/b'): Promise<string> {
  const response = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, {
    method: 'POST'
  })
  assert.equal(response.status, 202)
  assert.equal(response.headers.get('range'), '0-0')
  assert.equal(response.headers.get('content-length'), '0')
  assert.ok(response.headers.get('docker-upload-uuid'))
  return locationOf(registry, response)
}

const patch = (location: string, body: Buffer, range?: string) =>
  fetch(location, {
    method: 'PATCH',
    body,
    headers: range === undefined ? {} : { 'content-range': range }
  })

const put = (location: string, digest: string, body?: Buffer, range?: string) =>
  fetch(`${location}?digest=${digest}`, {
    method: 'PUT',
    ...(body && { body }),
    headers: range === undefined ? {} : { 'content-range': range }
  })

function assertCreated(response: Response, digest = DIGEST): void {
  assert.equal(response.status, 201)
  assert.equal(response.headers.get('location'), `/v2/a/b/blobs/${digest}`)
  assert.equal(response.headers.get('docker-content-digest'), digest)
}

for (const algorithm of ['sha256', 'sha512'] satisfies Algorithm[]) {
  test(`a blob is pushed with POST and PUT under ${algorithm}`, async t => {
    const registry = await openRegistry(t)
    const digest = digestOf(BYTES, algorithm)
    assertCreated(await put(await start(registry), digest, BYTES), digest)
    assert.deepEqual(registry.content.blobs.get(digest), BYTES)
    assert.equal(registry.content.sessions.size, 0)
  })
}

test('a blob is pushed with a single POST', async t => {
  const { url, content } = await openRegistry(t)
  const post = (digest: string, body: Buffer) =>
    fetch(`${url}/v2/a/b/blobs/uploads/?digest=${digest}`, { method: 'POST', body })
  assertCreated(await post(DIGEST, BYTES))
  const empty = digestOf(Buffer.alloc(0))
  assertCreated(await post(empty, Buffer.alloc(0)), empty)
  await assertError(await post(OTHER, BYTES), 400, 'DIGEST_INVALID')
  assert.deepEqual([...content.blobs.keys()], [DIGEST, empty])
  assert.equal(content.sessions.size, 0)
})

test('a blob is streamed with PATCH and closed with PUT', async t => {
  const registry = await openRegistry(t)
  const location = await start(registry)
  const streamed = await fetch(location, {
    method: 'PATCH',
    body: new Blob([BYTES]).stream(),
    duplex: 'half'
  } as RequestInit)
  assert.equal(streamed.status, 202)
  assert.equal(streamed.headers.get('range'), `0-${BYTES.length - 1}`)
  assertCreated(await put(locationOf(registry, streamed), DIGEST))
})

test('a blob is pushed in chunks, the last of them with PUT', async t => {
  const registry = await openRegistry(t)
  const location = await start(registry)
  assert.equal((await patch(location, BYTES.subarray(0, 5), '0-4')).headers.get('range'), '0-4')
  assert.equal((await patch(location, BYTES.subarray(5, 9), '5-8')).headers.get('range'), '0-8')
  const last = `9-${BYTES.length - 1}`
  assertCreated(await put(location, DIGEST, BYTES.subarray(9), last))
})

test('a chunk out of order is 416 and the session goes on where it was', async t => {
  const registry = await openRegistry(t)
  const location = await start(registry)
  await patch(location, BYTES.subarray(0, 5), '0-4')
  const head = BYTES.subarray(0, 3)
  for (const range of ['7-9', '0-2', '3-5', 'bytes 5-7/8', '7-5', 'x', '5-', '-3']) {
    const response = await patch(location, head, range)
    assert.equal(response.headers.get('range'), '0-4', range)
    assert.equal(locationOf(registry, response), location)
    await assertError(response, 416, 'RANGE_INVALID')
  }
  await assertError(await put(location, DIGEST, head, '7-9'), 416, 'RANGE_INVALID')
  const status = await fetch(location)
  assert.equal(status.status, 204)
  assert.equal(status.headers.get('range'), '0-4')
  assert.equal(locationOf(registry, status), location)
  assertCreated(await put(location, DIGEST, BYTES.subarray(5)))
})

test('a chunk that is not as long as its Content-Range is refused', async t => {
  const registry = await openRegistry(t)
  const location = await start(registry)
  await assertError(await patch(location, BYTES.subarray(0, 5), '0-9'), 400, 'SIZE_INVALID')
  const chunked = await fetch(location, {
    method: 'PATCH',
    body: new Blob([BYTES]).stream(),
    duplex: 'half',
    headers: { 'content-range': '0-4' }
  } as RequestInit)
  await assertError(chunked, 400, 'SIZE_INVALID')
  assert.equal((await fetch(location)).headers.get('range'), '0-4')
})

test('an upload can be cancelled', async t => {
  const registry = await openRegistry(t)
  const location = await start(registry)
  await patch(location, BYTES)
  assert.equal((await fetch(location, { method: 'DELETE' })).status, 204)
  for (const method of ['GET', 'PATCH', 'DELETE']) {
    await assertError(await fetch(location, { method }), 404, 'BLOB_UPLOAD_UNKNOWN')
  }
  assert.equal(registry.content.sessions.size, 0)
})

test('a session of one repository is none of another', async t => {
  const registry = await openRegistry(t)
  const foreign = (await start(registry)).replace('/a/b/', '/a/c/')
  await assertError(await patch(foreign, BYTES), 404, 'BLOB_UPLOAD_UNKNOWN')
  await assertError(await put(foreign, DIGEST, BYTES), 404, 'BLOB_UPLOAD_UNKNOWN')
})

test('a second writer is refused while one is at work', async t => {
  const registry = await openRegistry(t)
  const location = await start(registry)
  const writing = Promise.withResolvers<void>()
  const store = registry.content.store.bind(registry.content)
  registry.content.store = async (session, chunk) => {
    await writing.promise
    await store(session, chunk)
  }
  const first = patch(location, BYTES)
  const second = patch(location, BYTES)
  const loser = await Promise.race([first, second])
  await assertError(loser, 400, 'BLOB_UPLOAD_INVALID')
  writing.resolve()
  const statuses = (await Promise.all([first, second])).map(({ status }) => status)
  assert.deepEqual(statuses.sort(), [202, 400])
})

test('a digest that the bytes do not have is refused and nothing is stored', async t => {
  const registry = await openRegistry(t)
  await assertError(await put(await start(registry), OTHER, BYTES), 400, 'DIGEST_INVALID')
  const location = await start(registry)
  for (const digest of [
    '',
    'sha256:abc',
    DIGEST.toUpperCase(),
    `${DIGEST} `,
    'sha384:00',
    `md5:${'0'.repeat(32)}`
  ]) {
    const response = await put(location, encodeURIComponent(digest), BYTES)
    await assertError(response, 400, 'DIGEST_INVALID')
  }
  await assertError(await fetch(location, { method: 'PUT' }), 400, 'DIGEST_INVALID')
  const url = `${registry.url}/v2/a/b/blobs/uploads/?digest-algorithm=md5`
  await assertError(await fetch(url, { method: 'POST' }), 400, 'DIGEST_INVALID')
  assert.equal(registry.content.blobs.size, 0)
})

test('a mount gives the blob, or else a session', async t => {
  const registry = await openRegistry(t)
  registry.content.blobs.set(DIGEST, BYTES)
  const mount = (query: string) =>
    fetch(`${registry.url}/v2/a/b/blobs/uploads/?${query}`, { method: 'POST' })
  assertCreated(await mount(`mount=${DIGEST}&from=x/y`))
  assertCreated(await mount(`mount=${DIGEST}`))
  for (const query of [`mount=${OTHER}&from=x/y`, `mount=${DIGEST}&from=NO..NAME`, 'from=x/y']) {
    const response = await mount(query)
    assert.equal(response.status, 202, query)
    locationOf(registry, response)
  }
  await assertError(await mount('mount=sha256:abc&from=x'), 400, 'DIGEST_INVALID')
})

test('too many uploads are refused with a hint when to come again', async t => {
  const registry = await openRegistry(t)
  registry.content.createUpload = async () => {
    throw new StarlingError('TOOMANYREQUESTS', 'too many uploads are open')
  }
  const response = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST' })
  assert.match(response.headers.get('retry-after') ?? '', /^\d+$/)
  await assertError(response, 429, 'TOOMANYREQUESTS')
})

test('an upload is of who began it and of nobody else', async t => {
  let user = 'ann'
  const registry = await openRegistry(t, { access: { ...OPEN_ACCESS, principal: () => user } })
  const location = await start(registry)
  user = 'bob'
  await assertError(await patch(location, BYTES), 404, 'BLOB_UPLOAD_UNKNOWN')
  await assertError(await put(location, DIGEST, BYTES), 404, 'BLOB_UPLOAD_UNKNOWN')
  for (const method of ['GET', 'DELETE']) {
    await assertError(await fetch(location, { method }), 404, 'BLOB_UPLOAD_UNKNOWN')
  }
  user = 'ann'
  assertCreated(await put(location, DIGEST, BYTES))
})

test('CVE-2024-39897: a blob is not mounted from where its client may not pull', async t => {
  const access = { ...OPEN_ACCESS, mayPull: (_: unknown, name: string) => name !== 'secret' }
  const registry = await openRegistry(t, { access })
  registry.content.blobs.set(DIGEST, BYTES)
  const mount = (from: string) =>
    fetch(`${registry.url}/v2/a/b/blobs/uploads/?mount=${DIGEST}&from=${from}`, { method: 'POST' })
  assert.equal((await mount('secret')).status, 202)
  assert.equal((await mount('open')).status, 201)
})

test('a push that there is no room for is refused for good, with the reason', async t => {
  const { url, content } = await openRegistry(t)
  content.createUpload = async () => {
    throw new StarlingError('DISK_FULL', 'the disk of this node is full')
  }
  const response = await fetch(`${url}/v2/a/blobs/uploads/`, { method: 'POST' })
  assert.match(await response.clone().text(), /disk of this node is full/)
  await assertError(response, 413, 'DENIED')
})
