import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import {
  assertError,
  exchange,
  imageManifest,
  OCI_IMAGE,
  openRegistry,
  type Registry
} from './fixture.ts'

const DIGEST = digestOf(Buffer.from('x'))

/** Sends a request whose path no HTTP client would let through, and reads the answer. */
async function raw(
  exchangeWith: (bytes: string) => Promise<string>,
  method: string,
  path: string
): Promise<Response> {
  const answer = await exchangeWith(
    `${method} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`
  )
  const [head = '', body = ''] = answer.split('\r\n\r\n')
  const [statusLine = '', ...lines] = head.split('\r\n')
  const headers = lines.map(line => line.split(': ') as [string, string])
  return new Response(body, { status: Number(statusLine.split(' ')[1]), headers })
}

function assertNothingStored({ content }: Registry): void {
  assert.equal(content.blobs.size + content.manifests.size + content.tagged.size, 0)
  assert.equal(content.sessions.size, 0)
}

test('a malformed repository name is refused at every endpoint', async t => {
  const registry = await openRegistry(t)
  const names = [
    '..',
    'a/../b',
    '../../etc',
    'a/./b',
    'a%2fb',
    'a%2Fb',
    '%2e%2e',
    'a%00b',
    'a//b',
    '/a',
    'A',
    'a/B',
    'a_',
    '-a',
    'a..b',
    'a___b',
    'a:b',
    'a@b',
    'a b'.replace(' ', '%20'),
    '%C3%A9',
    'a$&b',
    '_a',
    'n'.repeat(300),
    'n'.repeat(8000),
    `${'a/'.repeat(150)}a`
  ]
  for (const name of names) {
    for (const [method, rest] of [
      ['GET', `blobs/${DIGEST}`],
      ['POST', 'blobs/uploads/'],
      ['POST', `blobs/uploads/?digest=${DIGEST}`],
      ['PATCH', 'blobs/uploads/session-1'],
      ['PUT', `blobs/uploads/session-1?digest=${DIGEST}`],
      ['GET', 'manifests/latest'],
      ['PUT', 'manifests/latest'],
      ['GET', 'tags/list']
    ] as const) {
      const send = (bytes: string) => exchange(t, registry, bytes)
      await assertError(await raw(send, method, `/v2/${name}/${rest}`), 400, 'NAME_INVALID')
    }
  }
  assertNothingStored(registry)
})

test('a malformed digest is refused before anything is looked up', async t => {
  const registry = await openRegistry(t)
  const hex = DIGEST.slice(7)
  const send = (bytes: string) => exchange(t, registry, bytes)
  for (const digest of [
    `sha256:${hex.toUpperCase()}`,
    `SHA256:${hex}`,
    `sha256:${hex}0`,
    `sha256:${hex.slice(1)}`,
    'sha256:',
    'sha256:..',
    'sha256:..%2f..%2fx',
    `sha256:${hex}%00`,
    `sha256:${hex}%20`,
    `sha256:${hex}%0a`,
    `md5:${hex}`,
    `sha512:${hex}`,
    'sha256:baddigeststring'
  ]) {
    await assertError(await raw(send, 'GET', `/v2/a/blobs/${digest}`), 400, 'DIGEST_INVALID')
    await assertError(await raw(send, 'GET', `/v2/a/manifests/${digest}`), 400, 'DIGEST_INVALID')
    await assertError(await raw(send, 'PUT', `/v2/a/manifests/${digest}`), 400, 'DIGEST_INVALID')
  }
  await assertError(await raw(send, 'GET', '/v2/a/blobs/sha256:../../x'), 404, 'UNSUPPORTED')
  assertNothingStored(registry)
})

test('a malformed tag is refused', async t => {
  const registry = await openRegistry(t)
  const send = (bytes: string) => exchange(t, registry, bytes)
  for (const tag of [
    '.a',
    '-a',
    '..',
    'a%2fb',
    'a%00',
    'a%',
    '%zz',
    'a+b',
    't'.repeat(129),
    't'.repeat(5000)
  ]) {
    await assertError(await raw(send, 'PUT', `/v2/a/manifests/${tag}`), 400, 'TAG_INVALID')
    await assertError(await raw(send, 'GET', `/v2/a/manifests/${tag}`), 400, 'TAG_INVALID')
  }
  assertNothingStored(registry)
})

test('an unknown upload is 404, whatever its id looks like', async t => {
  const registry = await openRegistry(t)
  const send = (bytes: string) => exchange(t, registry, bytes)
  for (const id of ['unknown', '..', '%2e%2e%2fx', 'a%00', '__proto__', 'x'.repeat(5000)]) {
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      await assertError(
        await raw(send, method, `/v2/a/blobs/uploads/${id}`),
        404,
        'BLOB_UPLOAD_UNKNOWN'
      )
    }
    const put = await raw(send, 'PUT', `/v2/a/blobs/uploads/${id}?digest=${DIGEST}`)
    await assertError(put, 404, 'BLOB_UPLOAD_UNKNOWN')
  }
  assertNothingStored(registry)
})

test('a manifest that is not sound is refused and not stored', async t => {
  const registry = await openRegistry(t)
  const put = (body: string | Buffer, type = OCI_IMAGE, reference = 'v1') =>
    fetch(`${registry.url}/v2/a/manifests/${reference}`, {
      method: 'PUT',
      body,
      headers: { 'content-type': type }
    })
  const manifest = imageManifest(Buffer.from('{}'), Buffer.from('layer'))
  await assertError(await put('not JSON'), 400, 'MANIFEST_INVALID')
  await assertError(await put(''), 400, 'MANIFEST_INVALID')
  await assertError(await put('{}'), 400, 'MANIFEST_INVALID')
  await assertError(await put('['.repeat(4_000_000)), 400, 'MANIFEST_INVALID')
  await assertError(await put(manifest, 'text/html'), 400, 'MANIFEST_INVALID')
  await assertError(await put(manifest, 'no type at all;;'), 415, 'UNSUPPORTED')
  await assertError(await put(manifest, OCI_IMAGE, DIGEST), 400, 'DIGEST_INVALID')
  await assertError(await put(manifest), 400, 'MANIFEST_BLOB_UNKNOWN')
  assertNothingStored(registry)
})
