/** Promise P5: pushing again heals, since nothing is said to be there that could not be served. */
import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeImage } from '../../src/demo/image.ts'
import { type Digest, digestOf, hexOf } from '../../src/digest.ts'
import { assertError, OCI_IMAGE, OCI_INDEX } from '../registry/fixture.ts'
import { type Node, Nodes } from './nodes.ts'

const HEAD = { method: 'HEAD' }

test('a blob whose file was removed is not said to be there, and a push by any client mends that', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('one')
  await node.ready()
  const image = makeImage([10_000, 20_000])
  await node.push('app', 'v1', image)
  for (const { digest } of image.blobs) {
    await rm(fileOf(node, digest))
    assert.equal(await node.statusCode(`/v2/app/blobs/${digest}`, HEAD), 404)
    assert.equal(await node.statusCode('/v2/app/manifests/v1', HEAD), 404)
    const body = Buffer.from(image.manifest)
    const put = await node.get('/v2/app/manifests/v1', { method: 'PUT', body })
    await assertError(put, 400, 'MANIFEST_BLOB_UNKNOWN')
    await node.push('app', 'v1', image)
    assert.equal(await node.statusCode('/v2/app/manifests/v1', HEAD), 200)
    assert.equal(await node.pull('app', 'v1'), image.sizeBytes)
    await node.ready()
  }
})

test('a manifest whose file was removed is found missing when it is pushed or asked for', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('one')
  await node.ready()
  const image = makeImage([10_000])
  await node.push('app', 'v1', image)
  await rm(fileOf(node, image.digest))
  assert.equal(await node.statusCode(`/v2/app/manifests/${image.digest}`, HEAD), 404)
  await node.push('app', 'v1', image)
  assert.equal(await node.pull('app', 'v1'), image.sizeBytes)
})

test('a blob that has rotted unseen is sound again once it has been pushed again', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('one')
  await node.ready()
  const bytes = Buffer.alloc(10_000, 'sound')
  const digest = digestOf(bytes)
  const push = () =>
    node.statusCode(`/v2/app/blobs/uploads/?digest=${digest}`, { method: 'POST', body: bytes })
  assert.equal(await push(), 201)
  await writeFile(fileOf(node, digest), Buffer.alloc(10_000, 'rotten'))
  assert.equal(await push(), 201)
  const pulled = await node.get(`/v2/app/blobs/${digest}`)
  assert.deepEqual(Buffer.from(await pulled.arrayBuffer()), bytes)
})

test('an index is there with all that its manifests name, also where none of them has been read', async t => {
  const nodes = await Nodes.open(t)
  const one = await nodes.start('one')
  await one.ready()
  const image = makeImage([10_000])
  await one.push('app', 'v1', image)
  const child = { mediaType: OCI_IMAGE, digest: image.digest, size: image.manifest.length }
  const body = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: [child] })
  )
  assert.equal(await one.statusCode('/v2/app/manifests/all', { method: 'PUT', body }), 201)

  const other = await nodes.start('full', { join: [one.mesh], full: true })
  await other.meets(1)
  assert.equal(await other.statusCode('/v2/app/manifests/all', HEAD), 200)
  const [lost] = image.blobs
  assert.ok(lost !== undefined)
  await rm(fileOf(one, lost.digest))
  assert.equal(await one.statusCode(`/v2/app/blobs/${lost.digest}`, HEAD), 404)
  assert.equal(await other.statusCode('/v2/app/manifests/all', HEAD), 404)
})

function fileOf(node: Node, digest: Digest): string {
  const hex = hexOf(digest)
  return join(node.dataDir, 'blobs/sha256', hex.slice(0, 2), hex)
}
