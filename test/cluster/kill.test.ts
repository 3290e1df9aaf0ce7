import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { rm } from 'node:fs/promises'
import { type TestContext, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { partialBytes, verifyBlobFiles } from '../helpers/blob-files.ts'
import { Daemon } from '../helpers/daemon.ts'
import { until } from '../helpers/until.ts'
import { Nodes } from './nodes.ts'
import { honestly, Puppet } from './puppet.ts'

const MiB = 1024 * 1024

test('the node that took a push is killed; back with nothing it holds everything again', async t => {
  const nodes = await Nodes.open(t)
  const victim = await start(t, nodes, 'victim', [])
  const join = [victim.addresses.mesh]
  const others = [await nodes.start('two', { join }), await nodes.start('three', { join })]
  for (const other of others) await other.meets(2)
  const image = makeImage([2 * MiB, 100_000])
  const address = { registry: victim.addresses.registry, repository: 'app', tag: 'v1' }
  await pushImage(address, image)
  for (const other of others) await other.holds(4)

  await victim.kill()
  for (const other of others) assert.equal(await other.pull('app', 'v1'), image.sizeBytes)
  await rm(victim.options.dataDir, { recursive: true })
  const back = await victim.restart()
  t.after(() => back.kill())
  await back.statusWhere('to hold it again', ({ blobs, ready }) => ready && blobs.held === 4)
  const restored = { ...address, registry: back.addresses.registry }
  assert.equal(await pullImage(restored), image.sizeBytes)
  assert.deepEqual(await verifyBlobFiles(back.options.dataDir), {
    count: 4,
    bytes: image.sizeBytes
  })
})

test('a receiver killed in the middle of a blob has no incomplete blob, and goes on after it', async t => {
  const nodes = await Nodes.open(t)
  // It copies nothing itself, so that the receiver has only the puppet to ask.
  const seed = await nodes.start('seed', { full: true })
  const puppet = await Puppet.open(t, nodes, [seed.mesh])
  await seed.meets(1)
  const bytes = randomBytes(24 * MiB)
  const starts: number[] = []
  const released = Promise.withResolvers<void>()
  const digest = puppet.holds(bytes, async function* (whole, start) {
    starts.push(start)
    yield* honestly(whole.subarray(0, 16 * MiB), start)
    await released.promise
    yield* honestly(whole, Math.max(start, 16 * MiB))
  })
  const receiver = await start(t, nodes, 'receiver', [seed.mesh])
  const { dataDir } = receiver.options
  const lease = { kind: 'lease' as const, repository: 'app', digest, ttlMs: 60_000 }
  await puppet.records.write([{ ...lease, sizeBytes: bytes.length }])
  await until(async () => (await partialBytes(dataDir)) >= 15 * MiB, {
    what: 'the receiver to have half of the blob'
  })

  await receiver.kill()
  assert.deepEqual(await verifyBlobFiles(dataDir), { count: 0, bytes: 0 })
  released.resolve()
  const again = await receiver.restart()
  t.after(() => again.kill())
  await again.statusWhere('to hold it', ({ blobs }) => blobs.held === 1 && blobs.missing === 0)
  assert.deepEqual(await verifyBlobFiles(dataDir), { count: 1, bytes: bytes.length })
  assert.equal(starts[0], 0)
  assert.ok(Number(starts[1]) >= 15 * MiB, `it went on from ${starts[1]}`)
})

/** A node in a process of its own, to be killed. */
async function start(
  context: TestContext,
  nodes: Nodes,
  name: string,
  join: readonly string[]
): Promise<Daemon> {
  const { secretFile } = nodes
  const daemon = await Daemon.start({ name, dataDir: nodes.dataDir(name), join, secretFile })
  context.after(() => daemon.kill())
  return daemon
}
