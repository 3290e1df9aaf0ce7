import assert from 'node:assert/strict'
import { chmod, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeImage } from '../../src/demo/image.ts'
import { verifyBlobFiles } from '../helpers/blob-files.ts'
import { type Node, Nodes } from './nodes.ts'

const UNKNOWN = `sha256:${'0'.repeat(64)}`

test('what is pushed to one node is pulled at once from another, and soon held by all', async t => {
  const nodes = await Nodes.open(t)
  let [one, two, three] = (await nodes.startAll(3)) as [Node, Node, Node]
  const image = makeImage([3_000_000, 40_000, 7])
  await one.push('team/app', 'v1', image)
  assert.equal(await three.pull('team/app', 'v1'), image.sizeBytes)

  for (const node of [one, two, three]) {
    await node.holds(5)
    assert.deepEqual(await verifyBlobFiles(node.dataDir), { count: 5, bytes: image.sizeBytes })
    await node.until('to know of three copies', ({ images }) => images[0]?.copies === 3)
  }

  await t.test('under another repository it moves no bytes between nodes', async () => {
    const before = await sent([one, two, three])
    await two.push('other/app', 'v9', image)
    for (const node of [one, two, three]) {
      await node.answers(200, '/v2/other/app/manifests/v9')
      assert.equal(await node.pull('other/app', 'v9'), image.sizeBytes)
      await node.until('to know of it', ({ images }) => images.length === 2)
    }
    assert.equal(await sent([one, two, three]), before)
  })

  await t.test('a tag that moves on one node moves on the others', async () => {
    const next = makeImage([1_000])
    await one.push('team/app', 'v1', next)
    await three.until('to have the new tag', ({ images }) =>
      images.some(({ repository, digest }) => repository === 'team/app' && digest === next.digest)
    )
    const moved = await three.get('/v2/team/app/manifests/v1')
    assert.equal(moved.headers.get('docker-content-digest'), next.digest)
    await moved.arrayBuffer()
    // What the tag pointed to is still there by its digest.
    assert.equal(await three.statusCode(`/v2/team/app/manifests/${image.digest}`), 200)
  })

  await t.test('what nobody has is unknown everywhere', async () => {
    for (const node of [one, two, three]) {
      for (const path of [
        '/v2/team/app/manifests/other',
        `/v2/team/app/manifests/${UNKNOWN}`,
        `/v2/team/app/blobs/${UNKNOWN}`,
        '/v2/nothing/tags/list'
      ]) {
        assert.equal(await node.sureStatusCode(path), 404, path)
      }
    }
  })

  await t.test('a manifest that has rotted is had from another node', async () => {
    const hex = image.digest.slice('sha256:'.length)
    const path = join(three.dataDir, 'blobs', 'sha256', hex.slice(0, 2), hex)
    // What was read before is kept in memory, verified; a new process reads the file again.
    await three.stop()
    await chmod(path, 0o600)
    await writeFile(path, image.manifest.toString().replace('{', '['))
    three = await nodes.start('node-3', { join: [one.mesh] })
    const response = await three.get(`/v2/team/app/manifests/${image.digest}`)
    assert.equal(await response.text(), image.manifest.toString())
    await verifyBlobFiles(three.dataDir)
  })

  await t.test('what one repository has is not seen through another', async () => {
    const [config] = image.blobs
    assert.equal(await two.sureStatusCode(`/v2/secret/app/blobs/${config?.digest}`), 404)
    assert.equal(await two.sureStatusCode(`/v2/secret/app/manifests/${image.digest}`), 404)
  })
})

test('a manifest may be pushed to another node than its blobs', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2)) as [Node, Node]
  const image = makeImage([500_000, 9])
  // As behind one address that spreads connections; every blob is found where it is.
  await one.push('app', 'v1', image)
  const pushed = await two.get('/v2/app/manifests/v2', {
    method: 'PUT',
    headers: { 'content-type': image.mediaType },
    body: image.manifest
  })
  assert.equal(pushed.status, 201, await pushed.text())
  assert.equal(await two.pull('app', 'v2'), image.sizeBytes)
  await one.answers(200, '/v2/app/manifests/v2')
})

test('a manifest that gives a wrong size for a layer does not bring honest nodes into disrepute', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2)) as [Node, Node]
  const image = makeImage([50_000, 60_000])
  const wrong = { ...image, manifest: Buffer.from(`${image.manifest}`.replace('50000', '50001')) }
  // Whether a registry takes such a manifest or not, what comes after it must get through.
  await one.push('app', 'wrong', wrong).catch(() => undefined)
  const sound = makeImage([70_000])
  await one.push('app', 'sound', sound)
  await two.until('to miss nothing', ({ blobs }) => blobs.held > 3 && blobs.missing === 0)
  await two.answers(200, '/v2/app/manifests/sound')
  assert.equal(await two.pull('app', 'sound'), sound.sizeBytes)
})

test('a node that comes later gets everything, and is ready once it has', async t => {
  const nodes = await Nodes.open(t)
  const one = await nodes.start('node-1')
  await one.ready()
  const images = [makeImage([200_000]), makeImage([300_000, 1])]
  for (const [index, image] of images.entries()) await one.push('app', `v${index}`, image)
  const two = await nodes.start('node-2', { join: [one.mesh] })
  const { blobs } = await two.ready()
  assert.deepEqual({ held: blobs.held, missing: blobs.missing }, { held: 6, missing: 0 })
  await one.until('to count both copies', status =>
    status.images.every(({ copies }) => copies === 2)
  )
  // Who comes with nothing to tell does not make the others doubt what they know.
  assert.doesNotMatch(one.log, /"from":"ready"/)
})

test('a node above its disk limit copies nothing, is ready, and serves what others hold', async t => {
  const nodes = await Nodes.open(t)
  const one = await nodes.start('node-1')
  const image = makeImage([300_000])
  await one.push('app', 'v1', image)
  const full = await nodes.start('full', { join: [one.mesh], full: true })
  const { blobs, disk } = await full.meets(1)
  assert.equal(disk.state, 'full')
  assert.deepEqual({ held: blobs.held, missing: blobs.missing }, { held: 0, missing: 3 })
  assert.equal(await full.pull('app', 'v1'), image.sizeBytes)
})

async function sent(nodes: readonly Node[]): Promise<number> {
  const labels = { plane: 'transfer' }
  const counts = nodes.map(node => node.metric('starling_bytes_sent_total', labels))
  return (await Promise.all(counts)).reduce((sum, bytes) => sum + bytes, 0)
}
