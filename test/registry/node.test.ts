import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type Algorithm, digestOf } from '../../src/digest.ts'
import { Daemon } from '../helpers/daemon.ts'
import { assertError, descriptor, imageManifest, OCI_IMAGE, OCI_INDEX } from './fixture.ts'

/** A real node: what is deleted, hidden and listed there, with records, disk and all. */
let dataDir: string
let node: Daemon
let v2: string

before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'node-'))
  node = await Daemon.start({ name: 'one', dataDir })
  await node.ready()
  v2 = `http://${node.addresses.registry}/v2`
})

after(async () => {
  await node?.stop()
  await rm(dataDir, { recursive: true, force: true })
})

const CONFIG = Buffer.from('{"os":"linux"}')

async function pushBlob(
  repository: string,
  bytes: Buffer,
  algorithm: Algorithm = 'sha256'
): Promise<string> {
  const digest = digestOf(bytes, algorithm)
  const url = `${v2}/${repository}/blobs/uploads/?digest=${digest}`
  assert.equal((await fetch(url, { method: 'POST', body: bytes })).status, 201)
  return `${v2}/${repository}/blobs/${digest}`
}

function push(repository: string, reference: string, manifest: unknown): Promise<Response> {
  const body = Buffer.isBuffer(manifest) ? manifest : Buffer.from(JSON.stringify(manifest))
  return fetch(`${v2}/${repository}/manifests/${reference}`, { method: 'PUT', body })
}

async function pushImage(repository: string, reference: string, layer: Buffer): Promise<Buffer> {
  await pushBlob(repository, CONFIG)
  await pushBlob(repository, layer)
  const manifest = imageManifest(CONFIG, layer)
  assert.equal((await push(repository, reference, manifest)).status, 201)
  return manifest
}

const remove = (url: string) => fetch(url, { method: 'DELETE' })
const statusOf = async (url: string) => (await fetch(url, { method: 'HEAD' })).status

async function referrersOf(
  repository: string,
  subject: unknown
): Promise<Record<string, unknown>[]> {
  const response = await fetch(`${v2}/${repository}/referrers/${subject}`)
  return JSON.parse(await response.text()).manifests
}

test('a deleted manifest takes its tags along, and a blob goes once nothing needs it', async () => {
  const layer = Buffer.from('a layer to delete')
  const manifest = await pushImage('delete/me', 'v1', layer)
  const digest = digestOf(manifest)
  assert.equal((await push('delete/me', 'v2', manifest)).status, 201)
  await pushImage('delete/me', 'other', Buffer.from('another layer'))
  const blob = `${v2}/delete/me/blobs/${digestOf(layer)}`
  await assertError(await remove(blob), 405, 'UNSUPPORTED')

  assert.equal((await remove(`${v2}/delete/me/manifests/v1`)).status, 202)
  assert.equal(await statusOf(`${v2}/delete/me/manifests/v1`), 404)
  assert.equal(await statusOf(`${v2}/delete/me/manifests/v2`), 200)
  assert.equal((await remove(`${v2}/delete/me/manifests/${digest}`)).status, 202)
  for (const reference of ['v2', digest]) {
    assert.equal(await statusOf(`${v2}/delete/me/manifests/${reference}`), 404)
  }
  const tags = await fetch(`${v2}/delete/me/tags/list`)
  assert.deepEqual(JSON.parse(await tags.text()).tags, ['other'])

  assert.equal((await remove(blob)).status, 202)
  assert.equal(await statusOf(blob), 404)
  await assertError(await remove(blob), 404, 'BLOB_UNKNOWN')
  // The other image needs the config that both share.
  const config = `${v2}/delete/me/blobs/${digestOf(CONFIG)}`
  await assertError(await remove(config), 405, 'UNSUPPORTED')
})

test('a repository with nothing left in it is no longer in the catalog', async () => {
  const manifest = await pushImage('soon/empty', 'v1', Buffer.from('short-lived'))
  await remove(`${v2}/soon/empty/manifests/${digestOf(manifest)}`)
  await assertError(await fetch(`${v2}/soon/empty/tags/list`), 404, 'NAME_UNKNOWN')
  const catalog = JSON.parse(await (await fetch(`${v2}/_catalog`)).text())
  assert.equal(catalog.repositories.includes('soon/empty'), false)
})

test('what was deleted can be pushed again', async () => {
  const layer = Buffer.from('comes back')
  const manifest = await pushImage('come/back', 'v1', layer)
  await remove(`${v2}/come/back/manifests/${digestOf(manifest)}`)
  await remove(`${v2}/come/back/blobs/${digestOf(layer)}`)
  await pushImage('come/back', 'v1', layer)
  assert.equal(await statusOf(`${v2}/come/back/manifests/v1`), 200)
})

test('CVE-2024-39897: a sparse index does not reveal what another repository holds', async () => {
  const secret = await pushImage('secret/app', 'v1', Buffer.from('secret layer'))
  const index = {
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: [descriptor(OCI_IMAGE, secret)]
  }
  assert.equal((await push('public/app', 'v1', index)).status, 201)
  for (const digest of [digestOf(secret), digestOf(Buffer.from('secret layer'))]) {
    assert.equal(await statusOf(`${v2}/public/app/blobs/${digest}`), 404)
  }
  assert.equal(await statusOf(`${v2}/public/app/manifests/${digestOf(secret)}`), 404)
})

test('an index may lack manifests, but not plain blobs, and an image not its layers', async () => {
  const absent = Buffer.from('nobody pushed this')
  const index = (mediaType: string) => ({
    schemaVersion: 2,
    mediaType: OCI_INDEX,
    manifests: [descriptor(mediaType, absent)]
  })
  assert.equal((await push('a/sparse', 'v1', index(OCI_IMAGE))).status, 201)
  assert.equal(await statusOf(`${v2}/a/sparse/manifests/v1`), 200)
  const cache = await push('a/sparse', 'v2', index('application/vnd.example.layer'))
  await assertError(cache, 400, 'MANIFEST_BLOB_UNKNOWN')
  await pushBlob('a/sparse', CONFIG)
  const image = await push('a/sparse', 'v3', imageManifest(CONFIG, absent))
  await assertError(image, 400, 'MANIFEST_BLOB_UNKNOWN')
})

test('a manifest that is wrong about a size is refused', async () => {
  await pushBlob('wrong/size', CONFIG)
  const manifest = {
    schemaVersion: 2,
    config: { mediaType: 'application/json', digest: digestOf(CONFIG), size: 3 },
    layers: [],
    mediaType: OCI_IMAGE
  }
  await assertError(await push('wrong/size', 'v1', manifest), 400, 'MANIFEST_INVALID')
})

test('sha512 works with no forewarning, for blobs, manifests and their tags', async () => {
  const layer = Buffer.from('a layer under sha512')
  const digest = digestOf(layer, 'sha512')
  const started = await fetch(`${v2}/long/digests/blobs/uploads/`, { method: 'POST' })
  const location = `http://${node.addresses.registry}${started.headers.get('location')}`
  assert.equal((await fetch(location, { method: 'PATCH', body: layer })).status, 202)
  assert.equal((await fetch(`${location}?digest=${digest}`, { method: 'PUT' })).status, 201)
  await pushBlob('long/digests', CONFIG, 'sha512')
  const describe = (bytes: Buffer) => ({
    mediaType: 'application/octet-stream',
    digest: digestOf(bytes, 'sha512'),
    size: bytes.length
  })
  const manifest = Buffer.from(
    JSON.stringify({
      ...{ schemaVersion: 2, mediaType: OCI_IMAGE },
      ...{ config: describe(CONFIG), layers: [describe(layer)] }
    })
  )
  const pushed = await push('long/digests', `${digestOf(manifest, 'sha512')}?tag=v1`, manifest)
  assert.equal(pushed.headers.get('oci-tag'), 'v1')
  const head = await fetch(`${v2}/long/digests/manifests/v1`, { method: 'HEAD' })
  assert.equal(head.headers.get('docker-content-digest'), digestOf(manifest, 'sha512'))
})

test('referrers are listed whether their clients kept a list of their own or not', async () => {
  const subject = descriptor(OCI_IMAGE, Buffer.from('signed'))
  await pushBlob('signed/app', CONFIG)
  const signature = (annotations: Record<string, string>) => ({
    ...{ schemaVersion: 2, mediaType: OCI_IMAGE, subject, annotations },
    ...{ artifactType: 'application/vnd.example.signature', layers: [] },
    config: descriptor('application/vnd.oci.empty.v1+json', CONFIG)
  })
  const large = { text: 'x'.repeat(100_000) }
  const bodies = [{ by: 'ann' }, large].map(each => Buffer.from(JSON.stringify(signature(each))))
  for (const body of bodies) {
    const response = await push('signed/app', digestOf(body), body)
    assert.equal(response.headers.get('oci-subject'), subject['digest'])
  }
  // The tag schema for registries without the API; what it lists must be in the API's list too.
  const fallback = {
    ...{ schemaVersion: 2, mediaType: OCI_INDEX },
    manifests: bodies.map(body => descriptor(OCI_IMAGE, body))
  }
  const tag = String(subject['digest']).replace(':', '-')
  assert.equal((await push('signed/app', tag, fallback)).status, 201)

  const listed = await referrersOf('signed/app', subject['digest'])
  assert.deepEqual(
    listed.map(({ digest }) => digest).sort(),
    bodies.map(body => digestOf(body)).sort()
  )
  const annotations = listed.map(each => JSON.stringify(each['annotations'])).sort()
  assert.deepEqual(annotations, [{ by: 'ann' }, large].map(each => JSON.stringify(each)).sort())
  assert.deepEqual(await referrersOf('other/app', subject['digest']), [])

  const [first = Buffer.alloc(0)] = bodies
  await remove(`${v2}/signed/app/manifests/${digestOf(first)}`)
  assert.equal((await referrersOf('signed/app', subject['digest'])).length, 1)
})

test('a blob is mounted from wherever it is, and from nowhere it is not', async () => {
  const bytes = Buffer.from('to be mounted')
  await pushBlob('mount/from', bytes)
  const mount = (repository: string, query: string) =>
    fetch(`${v2}/${repository}/blobs/uploads/?mount=${digestOf(bytes)}${query}`, { method: 'POST' })
  assert.equal((await mount('mount/to', '&from=mount/from')).status, 201)
  assert.equal((await mount('mount/anonymously', '')).status, 201)
  assert.equal((await mount('mount/wrong', '&from=mount/nowhere')).status, 202)
  assert.equal(await statusOf(`${v2}/mount/to/blobs/${digestOf(bytes)}`), 200)
  await remove(`${v2}/mount/from/blobs/${digestOf(bytes)}`)
  assert.equal(await statusOf(`${v2}/mount/from/blobs/${digestOf(bytes)}`), 404)
  assert.equal(await statusOf(`${v2}/mount/to/blobs/${digestOf(bytes)}`), 200)
})

test('all that was deleted or listed is so after a restart', async () => {
  const subject = descriptor(OCI_IMAGE, Buffer.from('kept'))
  await pushBlob('kept/app', CONFIG)
  const config = descriptor('application/vnd.example.config', CONFIG)
  const fields = { schemaVersion: 2, mediaType: OCI_IMAGE, config, layers: [], subject }
  assert.equal((await push('kept/app', 'v1', fields)).status, 201)
  const manifest = await pushImage('gone/app', 'v1', Buffer.from('gone'))
  await remove(`${v2}/gone/app/manifests/${digestOf(manifest)}`)
  await node.kill()
  node = await node.restart()
  await node.ready()
  v2 = `http://${node.addresses.registry}/v2`
  assert.equal((await referrersOf('kept/app', subject['digest'])).length, 1)
  assert.equal(await statusOf(`${v2}/gone/app/manifests/v1`), 404)
})
