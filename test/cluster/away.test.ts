import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeImage } from '../../src/demo/image.ts'
import { until } from '../helpers/until.ts'
import { type Node, Nodes } from './nodes.ts'

const KNOWN = ['/v2/app/manifests/v1']
const UNKNOWN = [
  '/v2/app/manifests/v2',
  `/v2/app/manifests/sha256:${'0'.repeat(64)}`,
  '/v2/b/tags/list'
]
const QUICK = { deadAfter: '1s', aloneAfter: '2500ms' } as const
/** For whoever takes a push beside others: it does so only while it ran all the time. */
const MORTAL = { deadAfter: '3s' } as const

test('while a node that was lost counts as live, nothing is unknown that it might know', async t => {
  const nodes = await Nodes.open(t)
  const holder = await nodes.start('holder')
  const image = makeImage([10_000])
  await holder.push('app', 'v1', image)
  // It stays live for as long as this test may take.
  const other = await nodes.start('other', { deadAfter: '10m', join: [holder.mesh], full: true })
  await other.meets(1)
  await holder.stop()
  for (const path of [...KNOWN, `/v2/app/manifests/${image.digest}`, ...UNKNOWN]) {
    assert.equal(await other.statusCode(path), 503, path)
  }
  const blob = `/v2/app/blobs/${image.blobs[0]?.digest}`
  assert.equal(await other.statusCode(blob, { method: 'HEAD' }), 404)
})

test('what only a node that is away holds is unavailable, and what nobody knew stays unknown', async t => {
  const nodes = await Nodes.open(t)
  const holder = await nodes.start('holder', QUICK)
  const image = makeImage([10_000])
  await holder.push('app', 'v1', image)
  const other = await nodes.start('other', { ...QUICK, join: [holder.mesh], full: true })
  await other.meets(1)
  await holder.stop()

  const blob = `/v2/app/blobs/${image.blobs[0]?.digest}`
  async function answersAsItShould(): Promise<void> {
    const known = [...KNOWN, `/v2/app/manifests/${image.digest}`]
    for (const path of known) assert.equal(await other.statusCode(path), 503, path)
    for (const path of UNKNOWN) assert.equal(await other.sureStatusCode(path), 404, path)
    assert.equal(await other.statusCode(blob, { method: 'HEAD' }), 404)
  }
  // Once it is away, and when the other is ready alone.
  await other.until('to miss it', ({ peers }) => peers[0]?.state === 'away')
  await answersAsItShould()
  await other.logs('"to":"seeking"')
  await other.ready()
  await answersAsItShould()

  await t.test('and it is there again when the node is', async () => {
    await nodes.start('holder', { ...QUICK, join: [other.mesh] })
    await other.answers(200, '/v2/app/manifests/v1')
    assert.equal(await other.pull('app', 'v1'), image.sizeBytes)
  })
})

test('a member away for forget-after is gone, its blobs are lost, and it may return', async t => {
  const settings = { ...MORTAL, forgetAfter: '4s' }
  const nodes = await Nodes.open(t)
  const holder = await nodes.start('holder', settings)
  const image = makeImage([10_000])
  await holder.push('app', 'v1', image)
  const others = [
    await nodes.start('two', { ...settings, join: [holder.mesh], full: true }),
    await nodes.start('three', { ...settings, join: [holder.mesh], full: true })
  ] as const
  for (const other of others) await other.meets(2)
  await holder.stop()
  for (const other of others) {
    await other.until('to forget it', ({ peers }) =>
      peers.every(({ name, state }) => name !== 'holder' || state === 'gone')
    )
    // Nobody is left of whom it could come.
    await other.answers(404, '/v2/app/manifests/v1')
    await other.ready()
  }

  const again = await nodes.start('holder', { ...settings, join: [others[0].mesh] })
  await again.meets(2)
  for (const other of others) {
    await other.meets(2)
    // It may be asked before its connections are made anew, and says 503 until then.
    const pulled = await until(() => other.pull('app', 'v1'), { what: 'the image' })
    assert.equal(pulled, image.sizeBytes)
  }
})

test('a node back under its name with nothing is another member, and refills by itself', async t => {
  const nodes = await Nodes.open(t)
  const [one, two, three] = (await nodes.startAll(3, MORTAL)) as [Node, Node, Node]
  const image = makeImage([200_000, 3])
  await one.push('app', 'v1', image)
  for (const node of [one, two, three]) await node.holds(4)
  const { node: before } = await one.status()
  await one.stop()

  // It joins nobody: the others dial it where it was.
  const back = await nodes.start('node-1', {
    ...MORTAL,
    data: nodes.dataDir('new'),
    mesh: one.mesh
  })
  const { node: after } = await back.holds(4)
  assert.notEqual(after.id, before.id)
  assert.equal(await back.pull('app', 'v1'), image.sizeBytes)
  for (const node of [two, three]) {
    await node.until('to know which is which', ({ peers, images }) => {
      const states = new Map(peers.map(({ id, state }) => [id, state]))
      const isGone = [undefined, 'gone'].includes(states.get(before.id))
      return isGone && states.get(after.id) === 'live' && images[0]?.copies === 3
    })
  }
})
