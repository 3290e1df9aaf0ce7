/** Nodes that store nothing (`--hold none`) among those that do. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { after, before, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { digestOf } from '../../src/digest.ts'
import { verifyBlobFiles } from '../helpers/blob-files.ts'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import { Daemon } from '../helpers/daemon.ts'
import { sureStatus } from '../helpers/sure-status.ts'

const MiB = 1024 * 1024
const MAIN = new URL('../../src/main.ts', import.meta.url).pathname

let cluster: Cluster
let one: Daemon
let two: Daemon
let bare: Daemon

before(async () => {
  const started = await Cluster.start(2)
  cluster = started.cluster
  ;[one, two] = started.nodes as [Daemon, Daemon]
  const flags = ['--hold', 'none']
  bare = await cluster.node('bare', { join: [one.addresses.mesh], flags })
  await bare.statusWhere('to know both', ({ peers }) => peers.filter(isLive).length === 2)
  await bare.ready()
})

after(() => cluster?.close())

test('what is pushed to it is on the others when it answers, and is pulled through it', async () => {
  const image = makeImage([5 * MiB, 300])
  await pushImage(at(bare, 'v1'), image)
  for (const node of [one, two, bare]) {
    assert.equal(await pullImage(at(node, 'v1')), image.sizeBytes, node.name)
  }
  assert.deepEqual(await verifyBlobFiles(bare.options.dataDir), { count: 0, bytes: 0 })
  const { ready, blobs, images } = await bare.status()
  assert.deepEqual({ ready, blobs }, { ready: true, blobs: { held: 0, missing: 0, bytesHeld: 0 } })
  assert.equal(images[0]?.tag, 'v1')
})

test('it is no copy, and nobody waits for it to become one', async () => {
  for (const node of [one, bare]) {
    const line = ['wait', 'team/app:v1', '--json', '--timeout', '120s', '--url']
    const answer = await run(process.execPath, [MAIN, ...line, `http://${node.addresses.admin}`])
    const { reached, nodes } = JSON.parse(answer) as { reached: boolean; nodes: { name: string }[] }
    assert.equal(reached, true)
    assert.deepEqual(nodes.map(({ name }) => name).sort(), ['node-1', 'node-2'])
  }
})

test('a mount, an upload in chunks, a list, a delete and what is unknown go through it', async () => {
  const url = `http://${bare.addresses.registry}/v2/team/chunks`
  const begun = await fetch(`${url}/blobs/uploads/`, { method: 'POST' })
  assert.equal(begun.status, 202)
  const bytes = randomBytes(3 * MiB)
  const location = `http://${bare.addresses.registry}${begun.headers.get('location')}`
  const patched = await fetch(location, { method: 'PATCH', body: bytes })
  assert.equal(patched.status, 202, await patched.text())
  const put = await fetch(`${location}?digest=${digestOf(bytes)}`, { method: 'PUT' })
  assert.equal(put.status, 201, await put.text())
  const part = await fetch(`${url}/blobs/${digestOf(bytes)}`, { headers: { range: 'bytes=5-9' } })
  // A part cannot be verified on its way, so the whole comes.
  assert.equal(part.status, 200)
  assert.deepEqual(Buffer.from(await part.arrayBuffer()), bytes)

  await pushImage(at(bare, 'gone'), makeImage([100]))
  const app = `http://${bare.addresses.registry}/v2/team/app`
  assert.deepEqual(await (await fetch(`${app}/tags/list`)).json(), {
    name: 'team/app',
    tags: ['gone', 'v1']
  })
  assert.equal((await fetch(`${app}/manifests/gone`, { method: 'DELETE' })).status, 202)
  assert.equal(await sureStatus(`${app}/manifests/gone`), 404)
  assert.equal(
    (await fetch(`${app}/blobs/${digestOf(Buffer.of(1))}`, { method: 'HEAD' })).status,
    404
  )
})

test('when one that stores is lost, the other answers for it; with none it says so', async () => {
  const image = makeImage([2 * MiB])
  await pushImage(at(bare, 'kept'), image)
  await one.kill()
  assert.equal(await pullImage(at(bare, 'kept')), image.sizeBytes)
  await two.kill()
  const url = `http://${bare.addresses.registry}/v2/team/app`
  const response = await fetch(`${url}/manifests/kept`)
  assert.equal(response.status, 503, await response.text())
  assert.ok(Number(response.headers.get('retry-after')) > 0)
  const layer = image.blobs[0]?.digest
  assert.equal((await fetch(`${url}/blobs/${layer}`, { method: 'HEAD' })).status, 404)
})

test('a node that stores images is not made one that does not by a flag', async () => {
  const flags = ['--hold', 'none']
  await assert.rejects(Daemon.start({ ...two.options, flags }), ({ message }: Error) =>
    /--hold none: \d+ blobs are stored here/.test(message)
  )
})

function at(node: Daemon, tag: string) {
  return { registry: node.addresses.registry, repository: 'team/app', tag }
}

function isLive({ state }: { state: string }): boolean {
  return state === 'live'
}
