import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { assertError, descriptor, OCI_IMAGE, OCI_INDEX, openRegistry, putImage } from './fixture.ts'

test('a manifest is accepted by tag and by digest, with warnings for what is still owed', async t => {
  const { url, content } = await openRegistry(t)
  const bytes = putImage(content, 'x')
  const digest = digestOf(bytes, 'sha512')
  content.warnings = ['on 1 of 2 nodes', 'a "quoted" line\r\nbroken: é']
  const response = await fetch(`${url}/v2/a/manifests/${digest}`, { method: 'PUT', body: bytes })
  assert.equal(response.status, 201)
  assert.equal(response.headers.get('docker-content-digest'), digest)
  assert.equal(
    response.headers.get('warning'),
    '299 - "on 1 of 2 nodes", 299 - "a \\"quoted\\" line??broken: ?"'
  )
})

test('a manifest whose blobs are not here is refused, and says which', async t => {
  const { url, content } = await openRegistry(t)
  const bytes = putImage(content, 'x')
  content.blobs.delete(digestOf(Buffer.from('layer of x')))
  const response = await fetch(`${url}/v2/a/manifests/v1`, { method: 'PUT', body: bytes })
  const { errors } = JSON.parse(await response.clone().text())
  assert.deepEqual(
    errors.map(({ detail }: { detail: string }) => detail),
    [digestOf(Buffer.from('layer of x'))]
  )
  await assertError(response, 400, 'MANIFEST_BLOB_UNKNOWN')
})

test('an index may be sparse, and a subject may come later', async t => {
  const { url } = await openRegistry(t)
  const absent = descriptor(OCI_IMAGE, Buffer.from('an absent manifest'))
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [absent], subject: absent }
  const body = Buffer.from(JSON.stringify(index))
  const response = await fetch(`${url}/v2/a/manifests/v1`, { method: 'PUT', body })
  assert.equal(response.status, 201)
  assert.equal(response.headers.get('oci-subject'), absent['digest'])
})

test('more manifests at once than there is memory for are told to come again', async t => {
  const { url, content } = await openRegistry(t)
  const hold = Promise.withResolvers<void>()
  content.putManifest = async () => {
    await hold.promise
    return { warnings: [] }
  }
  const image = putImage(content, 'x')
  const body = Buffer.concat([image, Buffer.alloc(4_000_000 - image.length, ' ')])
  const pushes = Array.from({ length: 20 }, () =>
    fetch(`${url}/v2/a/manifests/v1`, { method: 'PUT', body })
  )
  await assertError(await Promise.race(pushes), 503, 'UNAVAILABLE')
  hold.resolve()
  const statuses = (await Promise.all(pushes)).map(({ status }) => status)
  assert.ok(statuses.filter(status => status === 201).length >= 16)
})

test('a manifest of 4 MiB is accepted and a longer one is 413', async t => {
  const { url, content } = await openRegistry(t)
  const base = putImage(content, 'x')
  const padded = (length: number) => Buffer.concat([base, Buffer.alloc(length - base.length, ' ')])
  const limit = 4 * 1024 * 1024
  const push = (body: Buffer | ReadableStream, more = {}) =>
    fetch(`${url}/v2/a/manifests/v1`, { method: 'PUT', body, ...more })
  assert.equal((await push(padded(limit))).status, 201)
  await assertError(await push(padded(limit + 1)), 413, 'SIZE_INVALID')
  const stream = new Blob([padded(limit + 1)]).stream()
  await assertError(await push(stream, { duplex: 'half' }), 413, 'SIZE_INVALID')
})

test('a push by digest sets the tags given with it, and says which', async t => {
  const { url, content } = await openRegistry(t)
  const body = putImage(content, 'x')
  const digest = digestOf(body, 'sha512')
  const put = (reference: string, query: string) =>
    fetch(`${url}/v2/a/manifests/${reference}?${query}`, { method: 'PUT', body })
  const response = await put(digest, 'tag=v1&tag=v2&tag=v1')
  assert.equal(response.status, 201)
  assert.equal(response.headers.get('oci-tag'), 'v1, v2')
  for (const tag of ['v1', 'v2']) {
    const head = await fetch(`${url}/v2/a/manifests/${tag}`, { method: 'HEAD' })
    assert.equal(head.headers.get('docker-content-digest'), digest)
  }
  await assertError(await put(digest, 'tag=v1&tag=.no'), 400, 'TAG_INVALID')
  await assertError(await put('v3', 'tag=v4'), 400, 'TAG_INVALID')
  const many = Array.from({ length: 101 }, (_, i) => `tag=t${i}`).join('&')
  await assertError(await put(digest, many), 414, 'TAG_INVALID')
})
