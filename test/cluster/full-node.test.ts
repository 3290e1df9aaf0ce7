/** A node above `--max-disk`: it stops nobody, keeps nothing, and counts as no copy. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeImage } from '../../src/demo/image.ts'
import { digestOf } from '../../src/digest.ts'
import { assertError } from '../registry/fixture.ts'
import { type Node, Nodes } from './nodes.ts'

const MiB = 1024 * 1024

test('a push through a node without room is kept by two others, without a warning', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2)) as [Node, Node]
  const full = await nodes.start('full', { join: [one.mesh], full: true })
  await Promise.all([one, two, full].map(node => node.meets(2)))

  const image = makeImage([3 * MiB, 5])
  await full.push('app', 'v1', image)
  for (const node of [one, two]) await node.holds(4)
  const { blobs, degraded } = await full.status()
  assert.deepEqual({ held: blobs.held, degraded }, { held: 0, degraded: [] })
  assert.equal(await full.metric('starling_disk_state', { state: 'full' }), 1)
  assert.equal(await full.metric('starling_disk_state', { state: 'ok' }), 0)
  assert.equal(await full.metric('starling_disk_free_bytes'), 0)
  assert.equal(await full.pull('app', 'v1'), image.sizeBytes)
  const path = `/v2/app/manifests/${image.digest}`
  const body = Buffer.from(image.manifest)
  const again = await full.get(path, { method: 'PUT', body })
  assert.deepEqual([again.status, again.headers.get('warning')], [201, null])
})

test('a blob whose length is said only with its bytes goes through a node without room, too', async t => {
  const nodes = await Nodes.open(t)
  const [one] = (await nodes.startAll(2)) as [Node, Node]
  const full = await nodes.start('full', { join: [one.mesh], full: true })
  await Promise.all([one, full].map(node => node.meets(2)))
  const bytes = Buffer.alloc(2 * MiB, 7)
  const begun = await full.get('/v2/app/blobs/uploads/', { method: 'POST' })
  assert.equal(begun.status, 202)
  const location = begun.headers.get('location') ?? ''
  const patched = await full.get(location, { method: 'PATCH', body: bytes })
  assert.equal(patched.status, 202)
  const digest = digestOf(bytes)
  const put = await full.get(`${location}?digest=${digest}`, { method: 'PUT' })
  assert.equal(put.status, 201)
  const pulled = await full.get(`/v2/app/blobs/${digest}`)
  assert.equal(digestOf(Buffer.from(await pulled.arrayBuffer())), digest)
})

test('what is pulled through a node without room is not kept there, and may be pulled in parts', async t => {
  const nodes = await Nodes.open(t)
  const [one] = (await nodes.startAll(2)) as [Node, Node]
  const image = makeImage([3 * MiB])
  await one.push('app', 'v1', image)
  const full = await nodes.start('full', { join: [one.mesh], full: true })
  await full.meets(2)
  assert.equal(await full.pull('app', 'v1'), image.sizeBytes)
  const [layer] = image.blobs.filter(({ sizeBytes }) => sizeBytes === 3 * MiB)
  assert.ok(layer !== undefined)
  const bytes = Buffer.concat([...layer.bytes()])
  for (const [start, end] of [
    [0, 10],
    [MiB, 2 * MiB],
    [1_000_000, 3 * MiB]
  ] as const) {
    const headers = { range: `bytes=${start}-${end - 1}` }
    const part = await full.get(`/v2/app/blobs/${layer.digest}`, { headers })
    assert.equal(part.status, 206)
    assert.ok(bytes.subarray(start, end).equals(Buffer.from(await part.arrayBuffer())))
  }
  const { blobs } = await full.status()
  assert.equal(blobs.held, 0)
})

test('with room on fewer nodes than a push needs, it is refused in words, wherever it goes', async t => {
  const nodes = await Nodes.open(t)
  const one = await nodes.start('one')
  const full = [
    await nodes.start('full-1', { join: [one.mesh], full: true }),
    await nodes.start('full-2', { join: [one.mesh], full: true })
  ]
  await Promise.all([one, ...full].map(node => node.meets(2)))
  for (const node of [one, ...full]) {
    const response = await node.get('/v2/app/blobs/uploads/', { method: 'POST' })
    const words = await response.clone().text()
    await assertError(response, 413, 'DENIED')
    assert.match(words, /1 of the 2 nodes needed have room.*--max-disk/)
  }
})
