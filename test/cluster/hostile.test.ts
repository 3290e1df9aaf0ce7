import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { makeImage } from '../../src/demo/image.ts'
import { verifyBlobFiles } from '../helpers/blob-files.ts'
import { until } from '../helpers/until.ts'
import { type Node, Nodes } from './nodes.ts'
import { honestly, Puppet } from './puppet.ts'

const MiB = 1024 * 1024

test('a member that lies about every blob harms nobody: others give the true bytes', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2)) as [Node, Node]
  const puppet = await Puppet.open(t, nodes, [one.mesh, two.mesh])
  await Promise.all([one.meets(2), two.meets(2)])

  const image = makeImage([2 * MiB, 3 * MiB])
  for (const blob of [...image.blobs.map(each => Buffer.concat([...each.bytes()])), image.manifest])
    puppet.holds(blob, bytes => honestly(randomBytes(bytes.length), 0))
  // It is heard to hold them before anybody has them.
  puppet.announce([image.digest, ...image.blobs.map(({ digest }) => digest)])
  await one.push('app', 'v1', image)
  await two.holds(4)
  assert.deepEqual(await verifyBlobFiles(two.dataDir), { count: 4, bytes: image.sizeBytes })
  assert.equal(await two.pull('app', 'v1'), image.sizeBytes)
})

test('a member that resets in the middle of a blob only costs a turn', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2)) as [Node, Node]
  const puppet = await Puppet.open(t, nodes, [one.mesh, two.mesh])
  // A member that brings news when it is first met would make them doubt what they know.
  for (const node of [one, two]) await node.logs(`"peer":"${puppet.mesh.id}","received"`)

  // Small enough to be asked for whole, and at first nobody else has them.
  const image = makeImage([MiB])
  const asked = new Set<string>()
  for (const { bytes, digest, sizeBytes } of image.blobs) {
    puppet.holds(Buffer.concat([...bytes()]), function* (whole, start) {
      asked.add(digest)
      yield whole.subarray(start, start + Math.ceil((whole.length - start) / 2))
      throw new Error('reset')
    })
    // In another repository, or a client would be told that it need not push them.
    await puppet.records.write([
      { kind: 'lease', repository: 'other', digest, sizeBytes, ttlMs: 600_000 }
    ])
  }
  await until(() => asked.size === image.blobs.length, { what: 'the puppet to be asked for all' })
  await one.push('app', 'v1', image)
  for (const node of [one, two]) await node.holds(3)
  assert.deepEqual(await verifyBlobFiles(two.dataDir), { count: 3, bytes: image.sizeBytes })
})

test('a pull of what is still on its way here begins before it is here', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('node-1')
  const puppet = await Puppet.open(t, nodes, [node.mesh])
  await node.meets(1)

  const bytes = randomBytes(6 * MiB)
  const released = Promise.withResolvers<void>()
  const digest = puppet.holds(bytes, async function* (whole, start) {
    yield* honestly(whole.subarray(0, 4 * MiB), start)
    await released.promise
    yield* honestly(whole, Math.max(start, 4 * MiB))
  })
  const lease = { kind: 'lease' as const, repository: 'app', digest, ttlMs: 600_000 }
  await puppet.records.write([{ ...lease, sizeBytes: bytes.length }])
  await node.until('to hear of it', ({ blobs }) => blobs.missing === 1)

  const response = await node.get(`/v2/app/blobs/${digest}`)
  assert.equal(response.status, 200)
  assert.equal(response.headers.get('content-length'), String(bytes.length))
  assert.ok(response.body)
  const chunks: Uint8Array[] = []
  for await (const chunk of response.body) {
    chunks.push(chunk)
    if (chunks.length > 1) continue
    assert.equal((await node.status()).blobs.held, 0)
    released.resolve()
  }
  assert.deepEqual(Buffer.concat(chunks), bytes)
  await node.holds(1)
})

test('a pull is cut off, never ended in order, when the bytes that came were not the blob', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('node-1')
  const puppet = await Puppet.open(t, nodes, [node.mesh])
  await node.meets(1)
  const bytes = randomBytes(3 * MiB)
  const digest = puppet.holds(bytes, whole => honestly(randomBytes(whole.length), 0))
  const lease = { kind: 'lease' as const, repository: 'app', digest, ttlMs: 600_000 }
  await puppet.records.write([{ ...lease, sizeBytes: bytes.length }])
  await node.until('to hear of it', ({ blobs }) => blobs.missing === 1)

  const path = `/v2/app/blobs/${digest}`
  const response = await node.get(path)
  // Asked in time it is cut off; asked after the lie was found it is not to be had.
  if (response.status === 200) await assert.rejects(response.arrayBuffer())
  else assert.equal(response.status, 503)
  assert.equal(await node.statusCode(path), 503)
  const { blobs } = await node.status()
  assert.deepEqual({ held: blobs.held, missing: blobs.missing }, { held: 0, missing: 1 })
  assert.deepEqual(await verifyBlobFiles(node.dataDir), { count: 0, bytes: 0 })
})
