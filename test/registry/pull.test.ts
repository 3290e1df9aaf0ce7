import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Digest, digestOf } from '../../src/digest.ts'
import { StarlingError } from '../../src/errors.ts'
import { assertError, OCI_IMAGE, openRegistry, putImage } from './fixture.ts'

const NOTHING = digestOf(Buffer.from('never stored'))

test('the root and the version endpoint say that this is a registry', async t => {
  const { url } = await openRegistry(t)
  for (const path of ['/', '/v2', '/v2/']) {
    for (const method of ['GET', 'HEAD']) {
      const response = await fetch(url + path, { method })
      assert.equal(response.status, 200)
      assert.equal(response.headers.get('docker-distribution-api-version'), 'registry/2.0')
      await response.arrayBuffer()
    }
  }
})

test('a blob is given whole, with all that clients look at', async t => {
  const { url, content } = await openRegistry(t)
  const bytes = Buffer.alloc(3_000_000, 'blob')
  const digest = digestOf(bytes, 'sha512')
  content.blobs.set(digest, bytes)
  for (const method of ['HEAD', 'GET']) {
    const response = await fetch(`${url}/v2/a/b/blobs/${digest}`, { method })
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('content-length'), String(bytes.length))
    assert.equal(response.headers.get('content-type'), 'application/octet-stream')
    assert.equal(response.headers.get('docker-content-digest'), digest)
    assert.equal(response.headers.get('accept-ranges'), 'bytes')
    assert.equal(response.headers.get('etag'), `"${digest}"`)
    const body = Buffer.from(await response.arrayBuffer())
    assert.equal(method === 'GET' ? Buffer.compare(body, bytes) : body.length, 0)
  }
})

test('a part of a blob is given as RFC 9110 says', async t => {
  const { url, content } = await openRegistry(t)
  const bytes = Buffer.from(Array.from({ length: 2048 }, (_, i) => i % 251))
  const digest = digestOf(bytes)
  content.blobs.set(digest, bytes)
  const get = (range: string, headers = {}) =>
    fetch(`${url}/v2/a/blobs/${digest}`, { headers: { range, ...headers } })

  for (const [range, start, end] of [
    ['bytes=500-1499', 500, 1500],
    ['bytes=500-', 500, 2048],
    ['bytes=-500', 1548, 2048],
    ['bytes=2000-5000', 2000, 2048],
    ['bytes=0-', 0, 2048],
    ['bytes=-9999', 0, 2048]
  ] as const) {
    const response = await get(range)
    assert.equal(response.status, 206, range)
    assert.equal(response.headers.get('content-range'), `bytes ${start}-${end - 1}/2048`)
    assert.equal(response.headers.get('content-length'), String(end - start))
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), bytes.subarray(start, end))
  }
  for (const range of ['bytes=500-0', 'bytes=5000-10000', 'bytes=-0', 'bytes=', 'bytes=a-b']) {
    const response = await get(range)
    assert.equal(response.headers.get('content-range'), 'bytes */2048', range)
    await assertError(response, 416, 'RANGE_INVALID')
  }
  for (const [range, headers] of [
    [`bytes=${Array.from({ length: 300 }, (_, i) => `${2 * i}-${2 * i}`)}`, {}],
    ['lines=0-1', {}],
    ['bytes=0-1', { 'if-range': '"another"' }]
  ] as const) {
    const response = await get(range, headers)
    assert.equal(response.status, 200, range)
    assert.equal((await response.arrayBuffer()).byteLength, 2048)
  }
})

test('several parts come in one body, in the order asked for, overlaps joined', async t => {
  const { url, content } = await openRegistry(t)
  const bytes = Buffer.from(Array.from({ length: 2048 }, (_, i) => i % 251))
  const digest = digestOf(bytes)
  content.blobs.set(digest, bytes)
  for (const [range, extents] of [
    [
      'bytes=1000-1009,0-1',
      [
        [1000, 1010],
        [0, 2]
      ]
    ],
    [
      'bytes=0-4,5-9,2000-',
      [
        [0, 5],
        [5, 10],
        [2000, 2048]
      ]
    ],
    [
      'bytes=0-4,9000-,-8',
      [
        [0, 5],
        [2040, 2048]
      ]
    ],
    [
      'bytes=4-9,0-5,20-20',
      [
        [0, 10],
        [20, 21]
      ]
    ]
  ] as const) {
    const response = await fetch(`${url}/v2/a/blobs/${digest}`, { headers: { range } })
    assert.equal(response.status, 206, range)
    const boundary = /^multipart\/byteranges; boundary=([\w-]+)$/.exec(
      response.headers.get('content-type') ?? ''
    )?.[1]
    const parts = extents.map(
      ([start, end]) =>
        `--${boundary}\r\nContent-Type: application/octet-stream\r\n` +
        `Content-Range: bytes ${start}-${end - 1}/2048\r\n\r\n` +
        `${bytes.toString('latin1', start, end)}\r\n`
    )
    const expected = `${parts.join('')}--${boundary}--\r\n`
    assert.equal(response.headers.get('content-length'), String(expected.length))
    assert.equal(Buffer.from(await response.arrayBuffer()).toString('latin1'), expected, range)
  }
  const joined = await fetch(`${url}/v2/a/blobs/${digest}`, {
    headers: { range: 'bytes=0-5,3-9' }
  })
  assert.equal(joined.headers.get('content-range'), 'bytes 0-9/2048')
})

test('what the client has already is 304', async t => {
  const { url, content } = await openRegistry(t)
  const body = putImage(content, 'x')
  await fetch(`${url}/v2/a/manifests/v1`, { method: 'PUT', body })
  const layer = digestOf(Buffer.from('layer of x'))
  for (const [path, digest] of [
    ['manifests/v1', digestOf(body)],
    [`blobs/${layer}`, layer]
  ]) {
    for (const method of ['GET', 'HEAD']) {
      const ask = (tag: string) =>
        fetch(`${url}/v2/a/${path}`, { method, headers: { 'if-none-match': tag } })
      assert.equal((await ask(`"other", W/"${digest}"`)).status, 304)
      assert.equal((await ask('"other"')).status, 200)
    }
  }
})

test('an empty blob is given, and has no range', async t => {
  const { url, content } = await openRegistry(t)
  const digest = digestOf(Buffer.alloc(0))
  content.blobs.set(digest, Buffer.alloc(0))
  const whole = await fetch(`${url}/v2/a/blobs/${digest}`)
  assert.equal(whole.status, 200)
  assert.equal(whole.headers.get('content-length'), '0')
  const part = await fetch(`${url}/v2/a/blobs/${digest}`, { headers: { range: 'bytes=0-' } })
  await assertError(part, 416, 'RANGE_INVALID')
})

test('what is not here is 404, and what cannot be given now is 503 with Retry-After', async t => {
  const { url, content } = await openRegistry(t)
  await assertError(await fetch(`${url}/v2/a/blobs/${NOTHING}`), 404, 'BLOB_UNKNOWN')
  await assertError(await fetch(`${url}/v2/a/manifests/${NOTHING}`), 404, 'MANIFEST_UNKNOWN')
  await assertError(await fetch(`${url}/v2/a/manifests/latest`), 404, 'MANIFEST_UNKNOWN')
  const head = await fetch(`${url}/v2/a/blobs/${NOTHING}`, { method: 'HEAD' })
  assert.equal(head.status, 404)

  content.fault = new StarlingError('UNAVAILABLE', 'its holders are away', {
    retryAfterSeconds: 3.2
  })
  const unavailable = await fetch(`${url}/v2/a/manifests/latest`)
  assert.equal(unavailable.headers.get('retry-after'), '4')
  await assertError(unavailable, 503, 'UNAVAILABLE')
})

test('an error of our own tells the client nothing of our insides', async t => {
  const { url, content } = await openRegistry(t)
  for (const fault of [
    new Error('/secret/path'),
    new StarlingError('DISK_FAILED', '/secret/path')
  ]) {
    content.fault = fault
    const response = await fetch(`${url}/v2/a/manifests/latest`)
    assert.doesNotMatch(await response.clone().text(), /secret/)
    await assertError(response, 500, 'UNKNOWN')
  }
})

test('a manifest comes back in the bytes and the media type it was pushed with', async t => {
  const { url, content } = await openRegistry(t)
  const bytes = Buffer.concat([putImage(content, 'x'), Buffer.from('\n  \n')])
  const digest = digestOf(bytes)
  const put = await fetch(`${url}/v2/team/app/manifests/v1`, {
    method: 'PUT',
    body: bytes,
    headers: { 'content-type': `${OCI_IMAGE}; charset=utf-8` }
  })
  assert.equal(put.status, 201)
  assert.equal(put.headers.get('location'), `/v2/team/app/manifests/${digest}`)
  assert.equal(put.headers.get('docker-content-digest'), digest)
  for (const reference of ['v1', digest as Digest]) {
    for (const method of ['HEAD', 'GET']) {
      const response = await fetch(`${url}/v2/team/app/manifests/${reference}`, {
        method,
        headers: { accept: 'application/vnd.docker.distribution.manifest.v2+json' }
      })
      assert.equal(response.status, 200)
      assert.equal(response.headers.get('content-type'), OCI_IMAGE)
      assert.equal(response.headers.get('content-length'), String(bytes.length))
      assert.equal(response.headers.get('docker-content-digest'), digest)
      const body = Buffer.from(await response.arrayBuffer())
      if (method === 'GET') assert.deepEqual(body, bytes)
    }
  }
})

test('what is no endpoint is 404, and a method that an endpoint lacks is 405', async t => {
  const { url } = await openRegistry(t)
  for (const path of ['/v1/', '/nothing', '/v2/a/unknown/x', '/%zz', '/v2/%zz/x']) {
    await assertError(await fetch(url + path), 404, 'UNSUPPORTED')
  }
  for (const [method, path] of [
    ['DELETE', '/v2/a/tags/list'],
    ['POST', `/v2/a/referrers/${NOTHING}`],
    ['POST', '/v2/a/manifests/latest'],
    ['PUT', '/v2/_catalog']
  ] as const) {
    const response = await fetch(url + path, { method })
    assert.match(response.headers.get('allow') ?? '', /^GET/)
    await assertError(response, 405, 'UNSUPPORTED')
  }
})
