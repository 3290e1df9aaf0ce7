/** Readiness never waits for what cannot come: what is lost is named, and the rest is served. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { sureStatus } from '../helpers/sure-status.ts'

const FLAGS = ['--copies', '1']

test('when the last holder is gone its images are lost by name, and the nodes are ready', async t => {
  const cluster = await open(t)
  const holder = await cluster.node('holder', { flags: FLAGS })
  await holder.ready()
  const join = [holder.addresses.mesh]
  const full = await cluster.node('other', { join, flags: [...FLAGS, '--max-disk', '1%'] })
  await full.statusWhere('to hear of the holder', ({ peers }) => peers.some(isLive))
  await full.ready()
  const image = makeImage([100_000])
  await pushImage(at(holder, 'precious'), image)
  await full.statusWhere('to know the tag', ({ images }) => images.length === 1)
  await Promise.all([holder.kill(), full.kill()])

  const other = await cluster.node('other', { join, flags: [...FLAGS, '--alone-after', '2s'] })
  await other.ready()
  const { lost } = await other.statusWhere('to name what is lost', status => {
    return status.lost.images.some(({ tag, digest }) => {
      return tag === 'precious' && digest === image.digest
    })
  })
  assert.deepEqual(lost.mayHave, ['holder'])
  assert.equal(await codeOf(other, 'precious'), 503)

  // A machine of the same name and nothing on its disk takes the place of the one that is gone.
  const empty = await cluster.restart(holder, 'empty', [other.addresses.mesh])
  for (const node of [empty, other]) {
    await node.ready()
    const status = await node.statusWhere('to know that it is lost', ({ lost }) => {
      return lost.images.length === 1 && lost.mayHave.length === 0
    })
    assert.equal(status.lost.images[0]?.repository, 'app')
    assert.equal(await sureStatus(urlOf(node, 'precious')), 404)
  }
  const next = makeImage([1_000])
  await pushImage(at(empty, 'next'), next)
  assert.equal(await pullImage(at(other, 'next')), next.sizeBytes)
  // Pushing again heals.
  await pushImage(at(other, 'precious'), image)
  assert.equal(await pullImage(at(empty, 'precious')), image.sizeBytes)
  await empty.statusWhere('to miss nothing', ({ lost }) => lost.images.length === 0)
})

test('nodes that all start again with nothing are ready, and take pushes', async t => {
  const { cluster, nodes } = await Cluster.start(3, { flags: FLAGS })
  t.after(() => cluster.close())
  await pushImage(at(nodes[0] as Daemon, 'old'), makeImage([1_000]))
  await Promise.all(nodes.map(node => node.kill()))
  const anew = await Promise.all(nodes.map(node => cluster.restart(node, 'empty')))
  for (const node of anew) {
    await node.statusWhere(
      'to hear of the others',
      ({ peers }) => peers.filter(isLive).length === 2
    )
    await node.ready()
  }
  const image = makeImage([1_000])
  await pushImage(at(anew[1] as Daemon, 'new'), image)
  for (const node of anew) {
    assert.equal(await pullImage(at(node, 'new')), image.sizeBytes)
    assert.equal(await sureStatus(urlOf(node, 'old')), 404)
  }
})

async function open(t: TestContext): Promise<Cluster> {
  const cluster = await Cluster.open()
  t.after(() => cluster.close())
  return cluster
}

async function codeOf(node: Daemon, tag: string): Promise<number> {
  const response = await fetch(urlOf(node, tag))
  await response.arrayBuffer()
  return response.status
}

function urlOf(node: Daemon, tag: string): string {
  return `http://${node.addresses.registry}/v2/app/manifests/${tag}`
}

function at(node: Daemon, tag: string) {
  return { registry: node.addresses.registry, repository: 'app', tag }
}

function isLive({ state }: { state: string }): boolean {
  return state === 'live'
}
