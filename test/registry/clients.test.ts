import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, type IncomingHttpHeaders, type OutgoingHttpHeaders, request } from 'node:http'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { imageManifest, OCI_IMAGE, openRegistry, type Registry } from './fixture.ts'

/**
 * The requests that real clients make, in their order and with their headers, as their sources have
 * them. Each checks what that client itself insists on.
 */

const CONFIG = Buffer.from('{"architecture":"amd64","os":"linux"}')
const LAYER = Buffer.alloc(200_000, 'layer')
const MANIFEST = imageManifest(CONFIG, LAYER)
const REPOSITORY = 'library/app'
const OCTETS = { 'content-type': 'application/octet-stream' }

interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** Sends exactly the headers given, unlike fetch, on one kept-alive connection. */
function clientOf(t: TestContext, registry: Registry) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => agent.destroy())
  return async (
    method: string,
    path: string,
    headers: OutgoingHttpHeaders = {},
    body?: Buffer
  ): Promise<Answer> => {
    const url = new URL(path, registry.url)
    const sending = request(url, { method, headers, agent })
    sending.end(body)
    const [response] = await once(sending, 'response')
    const chunks = await response.toArray()
    return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }
  }
}

const base = `/v2/${REPOSITORY}`
const blobPath = (bytes: Buffer) => `${base}/blobs/${digestOf(bytes)}`
const digestQuery = (bytes: Buffer) => `digest=${encodeURIComponent(digestOf(bytes))}`

function assertStored({ content }: Registry): void {
  assert.deepEqual(content.blobs.get(digestOf(CONFIG)), CONFIG)
  assert.deepEqual(content.blobs.get(digestOf(LAYER)), LAYER)
  const stored = content.manifests.get(`${REPOSITORY}@${digestOf(MANIFEST)}`)
  assert.deepEqual(stored?.bytes, MANIFEST)
}

test('skopeo, podman and buildah push: ping, HEAD, mount, cancel, POST, PATCH, PUT', async t => {
  const registry = await openRegistry(t)
  const send = clientOf(t, registry)
  assert.equal((await send('GET', '/v2/')).status, 200)
  for (const blob of [LAYER, CONFIG]) {
    assert.equal((await send('HEAD', blobPath(blob))).status, 404)
    const mount = await send(
      'POST',
      `${base}/blobs/uploads/?from=library%2Fother&mount=${digestOf(blob)}`,
      { 'content-length': 0 }
    )
    assert.equal(mount.status, 202)
    const cancelled = await send('DELETE', String(mount.headers.location))
    assert.equal(cancelled.status, 204)

    const started = await send('POST', `${base}/blobs/uploads/`, { 'content-length': 0 })
    assert.equal(started.status, 202)
    const streamed = await send(
      'PATCH',
      String(started.headers.location),
      { ...OCTETS, 'transfer-encoding': 'chunked' },
      blob
    )
    assert.equal(streamed.status, 202)
    const closed = await send('PUT', `${streamed.headers.location}?${digestQuery(blob)}`, OCTETS)
    assert.equal(closed.status, 201)
    assert.equal(
      (await send('HEAD', blobPath(blob))).headers['content-length'],
      String(blob.length)
    )
  }
  const put = await send('PUT', `${base}/manifests/v1`, { 'content-type': OCI_IMAGE }, MANIFEST)
  assert.equal(put.status, 201)
  assertStored(registry)
})

test('crane, ko and Zarf push: a POST of an empty JSON body, PATCH, an empty PUT', async t => {
  const registry = await openRegistry(t)
  const send = clientOf(t, registry)
  const json = { 'content-type': 'application/json', 'content-length': 0 }
  for (const blob of [LAYER, CONFIG]) {
    assert.equal((await send('HEAD', blobPath(blob))).status, 404)
    const query = `?from=library%2Fother&mount=${digestOf(blob)}&origin=r.example`
    const started = await send('POST', `${base}/blobs/uploads/${query}`, json)
    assert.equal(started.status, 202)
    const streamed = await send(
      'PATCH',
      String(started.headers.location),
      { ...OCTETS, 'content-length': blob.length },
      blob
    )
    assert.equal(streamed.status, 202)
    const path = `${streamed.headers.location}?${digestQuery(blob)}`
    const closed = await send('PUT', path, { ...OCTETS, 'content-length': 0 })
    assert.equal(closed.status, 201)
  }
  assert.equal((await send('HEAD', `${base}/manifests/v1`)).status, 404)
  const headers = { 'content-type': OCI_IMAGE, 'content-length': MANIFEST.length }
  assert.equal((await send('PUT', `${base}/manifests/v1`, headers, MANIFEST)).status, 201)
  // Anything but 200 here, and it would keep referrers under a tag.
  assert.equal((await send('GET', `${base}/referrers/${digestOf(MANIFEST)}`)).status, 200)
  assertStored(registry)
})

test('oras and helm push and resolve: POST, one PUT with the body, HEAD by tag', async t => {
  const registry = await openRegistry(t)
  const send = clientOf(t, registry)
  for (const blob of [CONFIG, LAYER]) {
    assert.equal((await send('HEAD', blobPath(blob))).status, 404)
    const started = await send('POST', `${base}/blobs/uploads/`, { 'content-length': 0 })
    const path = `${started.headers.location}?${digestQuery(blob)}`
    const closed = await send('PUT', path, { ...OCTETS, 'content-length': blob.length }, blob)
    assert.equal(closed.status, 201)
  }
  const digest = digestOf(MANIFEST)
  const headers = { 'content-type': OCI_IMAGE }
  const byDigest = await send('PUT', `${base}/manifests/${digest}`, headers, MANIFEST)
  assert.equal(byDigest.headers['docker-content-digest'], digest)
  assert.equal((await send('PUT', `${base}/manifests/v1`, headers, MANIFEST)).status, 201)
  const head = await send('HEAD', `${base}/manifests/v1`, { accept: OCI_IMAGE })
  assert.equal(head.headers['docker-content-digest'], digest)
  assert.equal(head.headers['content-type'], OCI_IMAGE)
  assert.equal(head.headers['content-length'], String(MANIFEST.length))
  const ping = await send('GET', `${base}/referrers/sha256:${'0'.repeat(64)}`)
  assert.equal(ping.status, 200)
  assert.equal(ping.headers['content-type'], 'application/vnd.oci.image.index.v1+json')
  assertStored(registry)
})

test('containerd pushes: HEAD by tag, POST, one PUT, the manifest by tag', async t => {
  const registry = await openRegistry(t)
  const send = clientOf(t, registry)
  const accept = { accept: `${OCI_IMAGE}, */*` }
  assert.equal((await send('HEAD', `${base}/manifests/v1`, accept)).status, 404)
  for (const blob of [CONFIG, LAYER]) {
    assert.equal((await send('HEAD', blobPath(blob), { accept: '*/*' })).status, 404)
    const started = await send('POST', `${base}/blobs/uploads/`)
    assert.equal(started.status, 202)
    const path = `${started.headers.location}?${digestQuery(blob)}`
    const closed = await send('PUT', path, { ...OCTETS, 'content-length': blob.length }, blob)
    assert.equal(closed.headers['docker-content-digest'], digestOf(blob))
  }
  const put = await send('PUT', `${base}/manifests/v1`, { 'content-type': OCI_IMAGE }, MANIFEST)
  assert.equal(put.status, 201)
  assertStored(registry)
})

test('containerd pulls through a mirror: HEAD by tag with ns, open-ended and resumed ranges', async t => {
  const registry = await openRegistry(t)
  const { content } = registry
  for (const blob of [CONFIG, LAYER]) content.blobs.set(digestOf(blob), blob)
  const send = clientOf(t, registry)
  const mirrored = `/v2/docker.io/${REPOSITORY}/manifests/v1`
  await send('PUT', mirrored, { 'content-type': OCI_IMAGE }, MANIFEST)

  const accept = 'application/vnd.docker.distribution.manifest.v2+json, */*'
  const head = await send('HEAD', `${base}/manifests/v1?ns=docker.io`, { accept })
  assert.equal(head.status, 200)
  const digest = head.headers['docker-content-digest']
  const manifest = await send('GET', `${base}/manifests/${digest}?ns=docker.io`, { accept })
  assert.deepEqual(manifest.body, MANIFEST)
  const encodings = { 'accept-encoding': 'zstd;q=1.0, gzip;q=0.8, deflate;q=0.5' }
  const whole = await send('GET', `${blobPath(LAYER)}?ns=docker.io`, {
    ...encodings,
    range: 'bytes=0-'
  })
  assert.equal(whole.status, 206)
  assert.equal(whole.headers['content-encoding'], undefined)
  assert.deepEqual(whole.body, LAYER)
  const rest = await send('GET', `${blobPath(LAYER)}?ns=docker.io`, { range: 'bytes=150000-' })
  assert.equal(rest.headers['content-range'], `bytes 150000-199999/${LAYER.length}`)
  assert.deepEqual(rest.body, LAYER.subarray(150_000))
})

test('docker without containerd pushes: Range after each PATCH, the digest after the manifest', async t => {
  const registry = await openRegistry(t)
  const send = clientOf(t, registry)
  const ping = await send('GET', '/v2/')
  assert.equal(ping.headers['docker-distribution-api-version'], 'registry/2.0')
  for (const blob of [LAYER, CONFIG]) {
    const started = await send('POST', `${base}/blobs/uploads/`, { 'content-length': 0 })
    assert.ok(started.headers['docker-upload-uuid'])
    const streamed = await send(
      'PATCH',
      String(started.headers.location),
      { 'transfer-encoding': 'chunked' },
      blob
    )
    assert.equal(streamed.headers.range, `0-${blob.length - 1}`)
    const closed = await send('PUT', `${streamed.headers.location}?${digestQuery(blob)}`)
    assert.equal(closed.status, 201)
    const head = await send('HEAD', blobPath(blob))
    assert.equal(head.headers['content-length'], String(blob.length))
  }
  const put = await send('PUT', `${base}/manifests/v1`, { 'content-type': OCI_IMAGE }, MANIFEST)
  assert.equal(put.headers['docker-content-digest'], digestOf(MANIFEST))
  assertStored(registry)
})

test('Zarf and kubelet probe, and Zarf prunes what it lists', async t => {
  const registry = await openRegistry(t)
  const send = clientOf(t, registry)
  assert.equal((await send('GET', '/')).status, 200)
  for (const blob of [CONFIG, LAYER]) registry.content.blobs.set(digestOf(blob), blob)
  await send('PUT', `${base}/manifests/v1`, { 'content-type': OCI_IMAGE }, MANIFEST)
  const catalog = await send('GET', '/v2/_catalog?n=1000')
  assert.deepEqual(JSON.parse(String(catalog.body)), { repositories: [REPOSITORY] })
  const tags = await send('GET', `${base}/tags/list?n=1000`)
  assert.deepEqual(JSON.parse(String(tags.body)), { name: REPOSITORY, tags: ['v1'] })
  const head = await send('HEAD', `${base}/manifests/v1`)
  const digest = head.headers['docker-content-digest']
  assert.equal((await send('DELETE', `${base}/manifests/${digest}`)).status, 202)
  const gone = await send('GET', `${base}/manifests/v1`)
  assert.equal(gone.status, 404)
  assert.equal(JSON.parse(String(gone.body)).errors[0].code, 'MANIFEST_UNKNOWN')
})
