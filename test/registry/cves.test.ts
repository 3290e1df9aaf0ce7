/**
 * Lessons that other registries and their clients paid for, by the names they have. Those about who
 * may do what are in `auth/`: CVE-2024-39897, CVE-2025-23208, CVE-2025-24976, CVE-2025-48374,
 * CVE-2026-31801, CVE-2026-33540 and CVE-2026-41888.
 */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { digestOf } from '../../src/digest.ts'
import { MAX_MANIFEST_BYTES } from '../../src/manifest.ts'
import type { Page } from '../../src/registry/content.ts'
import { Daemon } from '../helpers/daemon.ts'
import {
  assertError,
  descriptor,
  exchange,
  imageManifest,
  OCI_IMAGE,
  OCI_INDEX,
  openRegistry,
  putImage
} from './fixture.ts'

const MIB = 1024 * 1024
const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json'
const CONFIG = Buffer.from('{"os":"linux"}')

test('CVE-2021-41190: a document that is an image to one reader and an index to another is refused', async t => {
  const { url, content } = await openRegistry(t)
  const image = JSON.parse(String(putImage(content, 'image')))
  const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }
  const { mediaType: _, ...untyped } = image
  const cases: readonly (readonly [contentType: string, document: unknown])[] = [
    [OCI_INDEX, image],
    [OCI_IMAGE, index],
    [DOCKER_IMAGE, image],
    [OCI_IMAGE, { ...image, manifests: [] }],
    [OCI_INDEX, { ...index, layers: image.layers }],
    [OCI_INDEX, { ...index, config: image.config }],
    [OCI_IMAGE, { ...untyped, manifests: [image.config] }],
    [OCI_INDEX, { ...untyped, manifests: [] }],
    // Go takes keys of any case, so that this is an index to containerd.
    [OCI_IMAGE, { ...untyped, Manifests: [image.config] }],
    [OCI_IMAGE, { ...image, MEDIATYPE: OCI_INDEX }],
    [OCI_IMAGE, { ...image, fsLayers: [] }]
  ]
  for (const [contentType, document] of cases) {
    for (const reference of ['v1', digestOf(encoded(document))]) {
      const put = await fetch(`${url}/v2/a/manifests/${reference}`, {
        ...{ method: 'PUT', body: encoded(document) },
        headers: { 'content-type': contentType }
      })
      await assertError(put, 400, 'MANIFEST_INVALID')
    }
  }
  assert.equal(content.manifests.size, 0)
  // What was taken is given in the type it was pushed with, whatever a client would rather have.
  await push(`${url}/v2/a/manifests/v1`, image)
  const pulled = await fetch(`${url}/v2/a/manifests/v1`, { headers: { accept: OCI_INDEX } })
  assert.equal(pulled.headers.get('content-type'), OCI_IMAGE)
})

test('CVE-2017-11468: a manifest too long is refused before it is read, or once it gets too long', async t => {
  let received = 0
  const registry = await openRegistry(t, {
    onBytes: (_direction, bytes) => {
      received += bytes
    }
  })
  const declared = await exchange(
    t,
    registry,
    `PUT /v2/a/manifests/v1 HTTP/1.1\r\nhost: x\r\ncontent-type: ${OCI_IMAGE}\r\n` +
      `content-length: ${1024 * MIB}\r\nexpect: 100-continue\r\nconnection: close\r\n\r\n`
  )
  assert.match(declared, /^HTTP\/1\.1 413 /)
  assert.equal(received, 0)

  const response = await fetch(`${registry.url}/v2/a/manifests/v1`, {
    ...{ method: 'PUT', headers: { 'content-type': OCI_IMAGE }, duplex: 'half' },
    body: Readable.toWeb(Readable.from(spaces(64))) as ReadableStream
  }).catch(() => undefined)
  // The client may be cut off while it still sends; if it hears anything, it is this.
  if (response !== undefined) await assertError(response, 413, 'SIZE_INVALID')
  assert.ok(received < MAX_MANIFEST_BYTES + 2 * MIB, `${received} bytes were taken`)
})

test('CVE-2023-2253: a page is of a thousand names at most, whatever is asked for', async t => {
  const { url, content } = await openRegistry(t)
  const limits: number[] = []
  const listed = async ({ limit }: Page): Promise<string[]> => {
    limits.push(limit)
    return []
  }
  content.repositories = listed
  content.tags = (_repository, page) => listed(page)
  for (const n of ['1000000000', '9007199254740993', `1${'0'.repeat(400)}`]) {
    for (const path of ['_catalog', 'a/tags/list']) {
      assert.equal((await fetch(`${url}/v2/${path}?n=${n}`)).status, 200)
    }
  }
  assert.ok(limits.length === 6 && limits.every(limit => limit <= 1_001), `${limits}`)
  for (const n of ['-1', '1e9', '0x10', 'NaN', '%00', ' 1', '']) {
    const response = await fetch(`${url}/v2/_catalog?n=${encodeURIComponent(n)}`)
    await assertError(response, 400, 'PAGINATION_NUMBER_INVALID')
  }
})

test('CVE-2026-35172: what was deleted cannot be read again, though another repository has it', async t => {
  const v2 = await openNode(t)
  const layer = Buffer.from('a layer that leaked')
  const manifest = imageManifest(CONFIG, layer)
  for (const repository of ['public/app', 'other/app']) {
    await pushBlob(v2, repository, CONFIG)
    await pushBlob(v2, repository, layer)
    await push(`${v2}/${repository}/manifests/v1`, manifest)
    // Read once, so that whatever remembers it does.
    for (const path of pathsOf(manifest, layer)) await read(`${v2}/${repository}/${path}`, 200)
  }
  for (const path of [`manifests/${digestOf(manifest)}`, `blobs/${digestOf(layer)}`]) {
    const deleted = await fetch(`${v2}/public/app/${path}`, { method: 'DELETE' })
    assert.equal(deleted.status, 202)
  }
  for (const path of pathsOf(manifest, layer)) {
    await read(`${v2}/public/app/${path}`, 404)
    await read(`${v2}/other/app/${path}`, 200)
  }
  const range = { headers: { range: 'bytes=0-3' } }
  const part = await fetch(`${v2}/public/app/blobs/${digestOf(layer)}`, range)
  await assertError(part, 404, 'BLOB_UNKNOWN')
})

test('CVE-2020-15157: the urls of a layer are kept as they are and never followed', async t => {
  const asked: string[] = []
  const elsewhere = createServer((request, response) => {
    asked.push(request.url ?? '')
    response.writeHead(401, { 'www-authenticate': 'Basic realm="give me your password"' }).end()
  })
  await new Promise<void>(resolve => elsewhere.listen(0, '127.0.0.1', resolve))
  t.after(() => elsewhere.close())
  const { port } = elsewhere.address() as AddressInfo

  const v2 = await openNode(t)
  const layer = Buffer.from('kept elsewhere')
  const manifest = {
    ...{ schemaVersion: 2, mediaType: DOCKER_IMAGE, config: descriptor('text/plain', CONFIG) },
    layers: [
      {
        ...descriptor('application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', layer),
        urls: [`http://127.0.0.1:${port}/layer`]
      }
    ]
  }
  await pushBlob(v2, 'foreign/app', CONFIG)
  await push(`${v2}/foreign/app/manifests/v1`, manifest)
  const pulled = await fetch(`${v2}/foreign/app/manifests/v1`)
  assert.deepEqual(Buffer.from(await pulled.arrayBuffer()), encoded(manifest))
  for (const method of ['HEAD', 'GET']) {
    const response = await fetch(`${v2}/foreign/app/blobs/${digestOf(layer)}`, { method })
    assert.equal(response.status, 404)
  }
  assert.deepEqual(asked, [])
})

test('CVE-2017-14992, CVE-2020-1702: nothing that comes is ever unpacked', async t => {
  const { url, content } = await openRegistry(t)
  // A thousand times as long when it is unpacked.
  const bomb = gzipSync(Buffer.alloc(64 * MIB))
  const digest = digestOf(bomb)
  const gzip = { 'content-encoding': 'gzip' }
  const upload = `${url}/v2/a/blobs/uploads/?digest=${digest}`
  const pushed = await fetch(upload, { method: 'POST', body: bomb, headers: gzip })
  assert.equal(pushed.status, 201)
  assert.deepEqual(content.blobs.get(digest), bomb)
  const pulled = await fetch(`${url}/v2/a/blobs/${digest}`, { headers: { 'accept-encoding': '*' } })
  assert.equal(pulled.headers.get('content-encoding'), null)
  assert.equal((await pulled.arrayBuffer()).byteLength, bomb.length)

  const packed = gzipSync(putImage(content, 'packed'))
  for (const body of [packed, bomb]) {
    const headers = { ...gzip, 'content-type': OCI_IMAGE }
    const put = await fetch(`${url}/v2/a/manifests/v1`, { method: 'PUT', body, headers })
    await assertError(put, 400, 'MANIFEST_INVALID')
  }
})

/** A real node; gives the URL of its API. */
async function openNode(t: TestContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-cves-'))
  const node = await Daemon.start({ name: 'one', dataDir })
  t.after(async () => {
    await node.stop()
    await rm(dataDir, { recursive: true, force: true })
  })
  await node.ready()
  return `http://${node.addresses.registry}/v2`
}

function pathsOf(manifest: Buffer, layer: Buffer): string[] {
  return ['manifests/v1', `manifests/${digestOf(manifest)}`, `blobs/${digestOf(layer)}`]
}

async function read(url: string, status: number): Promise<void> {
  for (const method of ['GET', 'HEAD']) {
    const response = await fetch(url, { method })
    await response.arrayBuffer()
    assert.equal(response.status, status, `${method} ${url}`)
  }
}

async function pushBlob(v2: string, repository: string, bytes: Buffer): Promise<void> {
  const url = `${v2}/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`
  assert.equal((await fetch(url, { method: 'POST', body: bytes })).status, 201)
}

async function push(url: string, manifest: unknown): Promise<void> {
  const body = Buffer.isBuffer(manifest) ? manifest : encoded(manifest)
  const response = await fetch(url, { method: 'PUT', body })
  assert.equal(response.status, 201, await response.text())
}

function encoded(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document))
}

function* spaces(count: number): Generator<Buffer> {
  for (let i = 0; i < count; i++) yield Buffer.alloc(MIB, ' ')
}
