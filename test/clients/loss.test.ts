/**
 * The promise of the whole, with real clients and separate processes: an image pushed to one node
 * is pulled from any other, also when the node that took it is lost, and that node, back with
 * nothing, holds everything again by itself. The tests tell one story and run in order.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { StatusDocument } from '../../src/admin/status.ts'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { Containerd } from './containerd.ts'
import { debianImage, type LayoutImage } from './debian.ts'

/** The registry that the image's name is of; there is none there, every node is a mirror of it. */
const HOST = 'registry.example'
const REPOSITORY = `${HOST}/library/debian`
const IMAGE = `${REPOSITORY}:bookworm`
/** Manifest and config of the image are under 1 KiB each; its layer is some 50 MB. */
const NO_LAYER_BYTES = 16 * 1024
const PRINT_VERSION = ['cat', '/etc/debian_version'] as const

let cluster: Cluster
let containerds: readonly [Containerd, Containerd]
let image: LayoutImage
let node1: Daemon
let node2: Daemon
let node3: Daemon
let before1: StatusDocument

before(async () => {
  image = await debianImage()
  const started = await Cluster.start(3)
  cluster = started.cluster
  ;[node1, node2, node3] = started.nodes as [Daemon, Daemon, Daemon]
  containerds = [await Containerd.start(), await Containerd.start()]
})

after(async () => {
  for (const containerd of containerds ?? []) await containerd.close()
  await cluster?.close()
})

test('an image that skopeo pushed to node 1 is pulled by containerd from node 3 at once', async t => {
  const startMs = performance.now()
  await push(node1, REPOSITORY)
  t.diagnostic(`pushed in ${seconds(startMs)}`)

  const pullMs = performance.now()
  await pull(containerds[0], node3)
  t.diagnostic(`pulled from node 3 in ${seconds(pullMs)}`)
})

test('a container of that image runs', async () => {
  const printed = await containerds[0].runIn(IMAGE, 'one', ...PRINT_VERSION)
  assert.match(printed, /^12\./)
})

test('soon all three nodes hold the image', async t => {
  const startMs = performance.now()
  await Promise.all([node1, node2, node3].map(node => holdsEverywhere(node, REPOSITORY)))
  t.diagnostic(`after ${seconds(startMs)}`)
  const statuses = await Promise.all([node1, node2, node3].map(node => node.status()))
  for (const { blobs } of statuses) assert.deepEqual(blobs, statuses[0]?.blobs)
})

test('the same image pushed to node 2 under another repository moves no layer bytes', async t => {
  const earlier = await bytesBetweenNodes()
  await push(node2, 'other/debian')
  await Promise.all([node1, node2, node3].map(node => holdsEverywhere(node, 'other/debian')))
  const moved = (await bytesBetweenNodes()) - earlier
  t.diagnostic(`${moved} bytes on the blob plane`)
  assert.ok(moved < NO_LAYER_BYTES, `${moved} bytes moved`)
})

test('node 1 killed, another containerd pulls the image from node 2 and runs it', async () => {
  before1 = await node1.status()
  await node1.kill()
  await pull(containerds[1], node2)
  const printed = await containerds[1].runIn(IMAGE, 'two', ...PRINT_VERSION)
  assert.match(printed, /^12\./)
})

test('skopeo, too, gets the digest that was pushed from each node left', async () => {
  for (const node of [node2, node3]) assert.equal(await digestAt(node), image.digest)
})

test('node 1, back with an empty data directory, holds everything again by itself', async t => {
  const startMs = performance.now()
  node1 = await cluster.restart(node1, 'empty')
  const { blobs } = await node1.statusWhere(
    'to hold what it held',
    status => status.blobs.missing === 0 && status.blobs.held === before1.blobs.held
  )
  t.diagnostic(`refilled in ${seconds(startMs)}`)
  assert.deepEqual(blobs, before1.blobs)
  await node1.ready()
  assert.equal(await digestAt(node1), image.digest)
})

test('containerd pulls from the node that came back', async () => {
  await containerds[0].forget(IMAGE)
  await pull(containerds[0], node1)
  const printed = await containerds[0].runIn(IMAGE, 'three', ...PRINT_VERSION)
  assert.match(printed, /^12\./)
})

test('a node that is asked to stop exits with 0', async () => {
  for (const node of [node1, node2, node3]) assert.equal(await node.stop(), 'exit code 0')
})

async function push(node: Daemon, repository: string): Promise<void> {
  const target = `docker://${node.addresses.registry}/${repository}:bookworm`
  const source = `oci:${image.layout}:bookworm`
  await run('skopeo', ['copy', '--quiet', '--dest-tls-verify=false', source, target])
}

/** Pulls as kubelet does, by the image's own name, from this node and nowhere else. */
async function pull(containerd: Containerd, node: Daemon): Promise<void> {
  await containerd.mirror(HOST, node.addresses.registry)
  await containerd.images.pull(IMAGE)
}

async function digestAt(node: Daemon): Promise<string> {
  const reference = `docker://${node.addresses.registry}/${IMAGE}`
  const printed = await run('skopeo', ['inspect', '--tls-verify=false', reference])
  return (JSON.parse(printed) as { Digest: string }).Digest
}

/** Waits until a node knows of three copies of an image and lacks nothing itself. */
function holdsEverywhere(node: Daemon, repository: string): Promise<StatusDocument> {
  return node.statusWhere(`to know of three copies of ${repository}`, status => {
    const entry = status.images.find(each => each.repository === repository)
    return status.blobs.missing === 0 && entry?.copies === 3 && entry.digest === image.digest
  })
}

async function bytesBetweenNodes(): Promise<number> {
  const received = await Promise.all(
    [node1, node2, node3].map(node =>
      node.metric('starling_bytes_received_total', { plane: 'transfer' })
    )
  )
  return received.reduce((sum, bytes) => sum + bytes, 0)
}

function seconds(sinceMs: number): string {
  return `${((performance.now() - sinceMs) / 1000).toFixed(1)} s`
}
