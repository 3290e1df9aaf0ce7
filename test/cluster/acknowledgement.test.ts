/** Promise P1 and P2 with real processes: what was acknowledged outlives the node that took it. */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'

const MiB = 1024 * 1024
const ROUNDS = 1

let cluster: Cluster
let nodes: Daemon[]

before(async () => {
  const started = await Cluster.start(3)
  cluster = started.cluster
  nodes = [...started.nodes]
})

after(() => cluster?.close())

test('an image acknowledged by a node that is lost at once is whole on the others', async () => {
  for (let round = 1; round <= ROUNDS; round++) {
    const image = makeImage([8 * MiB, 3 * MiB])
    const [taker, second, third] = nodes as [Daemon, Daemon, Daemon]
    await pushImage(at(taker, `round-${round}`), image)
    await taker.kill()
    for (const other of [second, third]) {
      assert.equal(await pullImage(at(other, `round-${round}`)), image.sizeBytes)
    }
    const back = await cluster.restart(taker, 'empty')
    await back.ready()
    nodes = [second, third, back]
    await allLive(nodes)
  }
})

test('a tag moved on one node is what every other node gives at once', async () => {
  const [taker, ...others] = nodes as [Daemon, Daemon, Daemon]
  for (let round = 1; round <= 5; round++) {
    const image = makeImage([1024])
    await pushImage(at(taker, 'moving'), image)
    for (const other of others) assert.equal(await digestAt(other, 'moving'), image.digest)
  }
})

test('with one node of three left, a push is answered with a warning, and made good later', async () => {
  const [taker, second, third] = nodes as [Daemon, Daemon, Daemon]
  await Promise.all([second.kill(), third.kill()])
  await taker.statusWhere('to know that it is alone', ({ peers }) =>
    peers.filter(({ name }) => name !== taker.name).every(({ state }) => state !== 'live')
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
  nodes[0] = await cluster.restart(taker, 'kept')
  assert.deepEqual(await degradedAt(nodes[0]), owed)
  const back = await cluster.restart(second, 'kept')
  await back.statusWhere('to hold all', ({ blobs }) => blobs.missing === 0 && blobs.held > 0)
  await back.ready()
  assert.equal(await pullImage(at(back, 'short')), image.sizeBytes)
  await nodes[0].statusWhere('to owe no copies', status => status.degraded.length === 0)
})

async function degradedAt(node: Daemon) {
  const { degraded } = await node.status()
  return degraded.map(({ tag, digest, copies }) => ({ tag, digest, copies }))
}

function at(node: Daemon, tag: string) {
  return { registry: node.addresses.registry, repository: 'durable/app', tag }
}

async function allLive(members: readonly Daemon[]): Promise<void> {
  for (const member of members) {
    await member.statusWhere(
      'to see the others live',
      ({ peers }) => peers.filter(({ state }) => state === 'live').length === members.length - 1
    )
    await member.ready()
  }
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
