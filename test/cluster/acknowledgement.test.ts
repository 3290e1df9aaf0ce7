/** Promise P1 and P2 with real processes: what was acknowledged outlives the node that took it. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'

const MiB = 1024 * 1024

test('a moved tag is what every other node gives at once, also when its taker is lost', async t => {
  const [cluster, nodes] = await start(t, 3)
  const [taker, ...others] = nodes as [Daemon, Daemon, Daemon]
  for (let round = 1; round <= 5; round++) {
    const image = makeImage([1024])
    await pushImage(at(taker, 'moving'), image)
    for (const other of others) assert.equal(await digestAt(other, 'moving'), image.digest)
  }

  const image = makeImage([8 * MiB, 3 * MiB])
  await pushImage(at(taker, 'moving'), image)
  await taker.kill()
  for (const other of others) assert.equal(await pullImage(at(other, 'moving')), image.sizeBytes)

  const join = others.map(({ addresses }) => addresses.mesh)
  const back = await cluster.restart(taker, 'empty', join)
  await back.statusWhere('to hold all', ({ blobs }) => blobs.missing === 0 && blobs.held > 0)
  assert.equal(await pullImage(at(back, 'moving')), image.sizeBytes)
})

test('with one node of two left, a push is answered with a warning, and made good later', async t => {
  // Alone at once, or the node would doubt what it knows while nobody is heard, and take no push.
  const [cluster, nodes] = await start(t, 2, ['--alone-after', '1s'])
  let [taker, second] = nodes as [Daemon, Daemon]
  await second.kill()
  await taker.statusWhere('to know that it is alone', ({ peers }) =>
    peers.every(({ state }) => state !== 'live')
  )
  const image = makeImage([1024])
  const warning = await warningOf(taker, 'short', image)
  assert.match(warning, /^299 - "stored on 1 of 2 nodes/)
  const byDigest = makeImage([2048])
  await pushImage(at(taker, byDigest.digest), byDigest)
  const owed = [
    { tag: 'short', digest: image.digest, copies: 1 },
    { tag: null, digest: byDigest.digest, copies: 1 }
  ]
  assert.deepEqual(await degradedAt(taker), owed)
  assert.ok((await taker.metric('starling_under_replicated_images')) >= 2)
  // It is not forgotten by a process that starts anew.
  await taker.kill()
  taker = await cluster.restart(taker, 'kept')
  assert.deepEqual(await degradedAt(taker), owed)
  second = await cluster.restart(second, 'kept')
  await second.statusWhere('to hold all', ({ blobs }) => blobs.missing === 0 && blobs.held > 0)
  assert.equal(await pullImage(at(second, 'short')), image.sizeBytes)
  await taker.statusWhere('to owe no copies', status => status.degraded.length === 0)
})

async function start(
  context: TestContext,
  count: number,
  flags: readonly string[] = []
): Promise<[Cluster, readonly Daemon[]]> {
  const { cluster, nodes } = await Cluster.start(count, { flags })
  context.after(() => cluster.close())
  return [cluster, nodes]
}

async function degradedAt(node: Daemon) {
  const { degraded } = await node.status()
  return degraded.map(({ tag, digest, copies }) => ({ tag, digest, copies }))
}

function at(node: Daemon, tag: string) {
  return { registry: node.addresses.registry, repository: 'durable/app', tag }
}

async function digestAt(node: Daemon, tag: string): Promise<string | null> {
  const url = `http://${node.addresses.registry}/v2/durable/app/manifests/${tag}`
  const response = await fetch(url, { method: 'HEAD' })
  return response.headers.get('docker-content-digest')
}

/** Pushes again what the first push has stored, by hand, since the small client drops the header. */
async function warningOf(
  node: Daemon,
  tag: string,
  image: ReturnType<typeof makeImage>
): Promise<string> {
  await pushImage(at(node, tag), image)
  const url = `http://${node.addresses.registry}/v2/durable/app/manifests/${tag}`
  const response = await fetch(url, {
    method: 'PUT',
    headers: { 'content-type': image.mediaType },
    body: Uint8Array.from(image.manifest)
  })
  assert.equal(response.status, 201)
  return response.headers.get('warning') ?? ''
}
