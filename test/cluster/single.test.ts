import assert from 'node:assert/strict'
import { open, readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type MadeImage, makeImage } from '../../src/demo/image.ts'
import { verifyBlobFiles } from '../helpers/blob-files.ts'
import { type Node, Nodes } from './nodes.ts'

const UNKNOWN = `sha256:${'0'.repeat(64)}`
/** Nobody listens on the discard port. */
const NOBODY = '127.0.0.1:9'

test('a node alone is ready, takes a push, gives a pull and says what it is', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('lonely')
  await node.ready()
  const image = makeImage([100_000, 5])
  await node.push('team/app', 'one', image)
  assert.equal(await node.pull('team/app', 'one'), image.sizeBytes)

  const status = await node.status()
  assert.equal(status.node.name, 'lonely')
  assert.equal(status.reason, 'ready')
  assert.deepEqual(status.peers, [])
  assert.deepEqual(status.transfers, [])
  assert.equal(status.disk.state, 'ok')
  assert.deepEqual(status.blobs, { held: 4, missing: 0, bytesHeld: image.sizeBytes })
  assert.deepEqual(status.images, [
    { repository: 'team/app', tag: 'one', digest: image.digest, bytes: image.sizeBytes, copies: 1 }
  ])
})

test('metrics tell that a node is ready, and what room its disk has', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('lonely')
  await node.ready()
  assert.equal(await node.metric('starling_ready'), 1)
  assert.equal(await node.metric('starling_disk_state', { state: 'ok' }), 1)
  assert.equal(await node.metric('starling_disk_state', { state: 'full' }), 0)
  const limitBytes = await node.metric('starling_disk_limit_bytes')
  const freeBytes = await node.metric('starling_disk_free_bytes')
  assert.ok(freeBytes > 0 && freeBytes <= limitBytes)
})

test('metrics tell that a node which waits for others is not ready', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('early', { join: [NOBODY], aloneAfter: '1h' })
  assert.equal(await node.metric('starling_ready'), 0)
})

test('what nobody ever pushed is unknown to a node alone', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('lonely')
  await node.ready()
  await node.push('team/app', 'one', makeImage([10]))
  for (const path of [
    '/v2/team/app/manifests/other',
    `/v2/team/app/manifests/${UNKNOWN}`,
    `/v2/team/app/blobs/${UNKNOWN}`,
    '/v2/other/manifests/one',
    '/v2/other/tags/list'
  ]) {
    assert.equal(await node.statusCode(path), 404, path)
  }
})

test('a lost index costs neither an image nor a tag', async t => {
  const nodes = await Nodes.open(t)
  const images = await withImages(nodes, 'one')
  await rm(join(nodes.dataDir('one'), 'index'), { recursive: true })
  await hasAll(await nodes.start('one'), images)
})

test('an index damaged in the middle of every file costs neither an image nor a tag', async t => {
  const nodes = await Nodes.open(t)
  const images = await withImages(nodes, 'one')
  await damage(join(nodes.dataDir('one'), 'index'))
  await hasAll(await nodes.start('one'), images)
})

test('under another name a node keeps its blobs and is another node', async t => {
  const nodes = await Nodes.open(t)
  const first = await nodes.start('first')
  const image = makeImage([1_000])
  await first.push('app', 'one', image)
  const { node } = await first.ready()
  await first.stop()

  const second = await nodes.start('second', { data: first.dataDir, aloneAfter: '1ms' })
  const status = await second.holds(3)
  assert.notEqual(status.node.id, node.id)
  assert.equal(status.node.name, 'second')
  assert.equal(await second.pull('app', 'one'), image.sizeBytes)
})

test('a node whose join finds nobody is not ready, and does not call a name unknown', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('early', { join: [NOBODY], aloneAfter: '1h' })
  assert.equal(await node.isReady(), false)
  const { reason } = await node.status()
  assert.match(reason, /no other node has been reached/)
  for (const path of [
    '/v2/app/manifests/one',
    `/v2/app/manifests/${UNKNOWN}`,
    `/v2/app/blobs/${UNKNOWN}`,
    '/v2/app/tags/list'
  ]) {
    const response = await node.get(path)
    assert.equal(response.status, 503, path)
    assert.match(response.headers.get('retry-after') ?? '', /^\d+$/)
    const body = (await response.json()) as { errors: { code: string }[] }
    assert.equal(body.errors[0]?.code, 'UNAVAILABLE')
  }
  // HEAD of a blob asks whether it must be pushed: 200 or 404, nothing else.
  assert.equal(await node.statusCode(`/v2/app/blobs/${UNKNOWN}`, { method: 'HEAD' }), 404)
  const image = makeImage([10])
  await assert.rejects(node.push('app', 'one', image), /503.*no other node has been reached/s)
})

test('a node whose join finds nobody is alone after its time, and then knows what is unknown', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('early', { join: [NOBODY], aloneAfter: '100ms' })
  await node.ready()
  assert.equal(await node.statusCode('/v2/app/manifests/one'), 404)
  await node.push('app', 'one', makeImage([10]))
  assert.equal(await node.statusCode('/v2/app/manifests/one'), 200)
  const { degraded } = await node.status()
  assert.deepEqual(
    degraded.map(({ repository, tag }) => `${repository}:${tag}`),
    ['app:one']
  )
})

test('above its disk limit a node takes no push, says so, and still serves and is ready', async t => {
  const nodes = await Nodes.open(t)
  const roomy = await nodes.start('one')
  const image = makeImage([1_000])
  await roomy.push('app', 'one', image)
  await roomy.stop()

  const node = await nodes.start('one', { full: true })
  await node.ready()
  assert.equal(await node.pull('app', 'one'), image.sizeBytes)
  await assert.rejects(
    node.push('app', 'two', makeImage([1_000])),
    /disk of this node is full.*--max-disk/s
  )
  const { disk } = await node.status()
  assert.equal(disk.state, 'full')
  assert.ok(disk.usedBytes > disk.limitBytes)
  await node.holds(3)
})

async function withImages(nodes: Nodes, name: string): Promise<Map<string, MadeImage>> {
  const node = await nodes.start(name)
  const images = new Map<string, MadeImage>()
  for (let number = 0; number < 5; number++) {
    const image = makeImage([1_000 + number])
    await node.push(`team/app-${number}`, 'latest', image)
    await node.push(`team/app-${number}`, 'again', image)
    images.set(`team/app-${number}`, image)
  }
  await node.stop()
  return images
}

async function hasAll(node: Node, images: ReadonlyMap<string, MadeImage>): Promise<void> {
  const { blobs } = await node.ready()
  assert.deepEqual({ held: blobs.held, missing: blobs.missing }, { held: 11, missing: 0 })
  for (const [repository, image] of images) {
    const listed = await node.get(`/v2/${repository}/tags/list`)
    assert.deepEqual(await listed.json(), { name: repository, tags: ['again', 'latest'] })
    assert.equal(await node.pull(repository, 'again'), image.sizeBytes)
  }
  await verifyBlobFiles(node.dataDir)
}

/** Overwrites the middle of each file, as a bad disk or a stray write would. */
async function damage(directory: string): Promise<void> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true })
  for (const entry of entries.filter(each => each.isFile())) {
    const path = join(entry.parentPath, entry.name)
    const { size } = await stat(path)
    const file = await open(path, 'r+')
    const garbage = Buffer.alloc(Math.ceil(size / 3), 0xa5)
    await file.write(garbage, 0, garbage.length, Math.floor(size / 3))
    await file.close()
  }
}
