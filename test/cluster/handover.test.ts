/** SIGTERM: a node passes on what only it holds before it ends. */
import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'

const MiB = 1024 * 1024
/** Dead soon, and alone before that: so a node that is left never stops to take pushes. */
const QUICK = ['--dead-after', '3s', '--alone-after', '1s']

test('a node alone ends at once', async t => {
  const cluster = await open(t)
  const only = await cluster.node('only')
  await only.ready()
  await pushImage(at(only, 'v1'), makeImage([100]))
  assert.equal(await only.stop(), 'exit code 0')
})

test('what only the leaving node holds is on the other when it has ended', async t => {
  const cluster = await open(t)
  const leaving = await cluster.node('leaving', { flags: QUICK })
  await leaving.ready()
  const image = makeImage([24 * MiB, 16 * MiB])
  await pushImage(at(leaving, 'v1'), image)
  const staying = await cluster.node('staying', { join: [leaving.addresses.mesh], flags: QUICK })
  await leaving.statusWhere('to hear of the other', ({ peers }) => peers.some(isLive))
  assert.equal(await leaving.stop(), 'exit code 0')
  assert.match(leaving.log, /"msg":"handed over"/)
  assert.equal(await pullImage(at(staying, 'v1')), image.sizeBytes)
})

test('what was acknowledged short is handed over to a member that comes back in time', async t => {
  const cluster = await open(t)
  const leaving = await cluster.node('leaving', { flags: QUICK })
  const join = [leaving.addresses.mesh]
  const other = await cluster.node('other', { join, flags: QUICK })
  await leaving.statusWhere('to hear of the other', ({ peers }) => peers.some(isLive))
  await leaving.ready()
  await other.kill()
  await leaving.statusWhere('to miss the other', ({ peers }) => !peers.some(isLive))
  const image = makeImage([3 * MiB])
  await pushImage(at(leaving, 'short'), image)

  leaving.signal('SIGTERM')
  await leaving.statusWhere('to be stopping', ({ reason }) => reason === 'stopping')
  const back = await cluster.restart(other, 'kept')
  assert.equal(await leaving.exited, 'exit code 0')
  assert.equal(await pullImage(at(back, 'short')), image.sizeBytes)
})

test('while it waits it refuses pushes and serves pulls; the time limit ends it, a second signal at once', async t => {
  const cluster = await open(t)
  const flags = [...QUICK, '--drain', '2s']
  const leaving = await cluster.node('leaving', { flags })
  await leaving.ready()
  const image = makeImage([1 * MiB])
  await pushImage(at(leaving, 'v1'), image)
  // It takes no copies, so that the leaving node has nobody to hand over to.
  const full = await cluster.node('full', {
    join: [leaving.addresses.mesh],
    flags: [...QUICK, '--max-disk', '1%']
  })
  await leaving.statusWhere('to hear of the other', ({ peers }) => peers.some(isLive))

  leaving.signal('SIGTERM')
  await leaving.statusWhere('to be stopping', ({ reason }) => reason === 'stopping')
  assert.equal(await pullImage(at(leaving, 'v1')), image.sizeBytes)
  await assert.rejects(pushImage(at(leaving, 'v2'), makeImage([10])), /503.*stopping/s)
  assert.equal(await leaving.exited, 'exit code 0')
  assert.match(leaving.log, /stopping with what no other reachable node holds/)

  const again = await cluster.restart(leaving, 'kept')
  await again.statusWhere('to hear of the other', ({ peers }) => peers.some(isLive))
  again.signal('SIGTERM')
  await again.statusWhere('to be stopping', ({ reason }) => reason === 'stopping')
  again.signal('SIGTERM')
  assert.equal(await again.exited, 'exit code 1')
  await full.kill()
})

async function open(t: TestContext): Promise<Cluster> {
  const cluster = await Cluster.open()
  t.after(() => cluster.close())
  return cluster
}

function at(node: Daemon, tag: string) {
  return { registry: node.addresses.registry, repository: 'team/app', tag }
}

function isLive({ state }: { state: string }): boolean {
  return state === 'live'
}
