import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeImage } from '../../src/demo/image.ts'
import { type Node, Nodes } from './nodes.ts'

const REFUSED = 'different cluster secret, or not Starling'

test('a node with another secret connects to nothing and learns nothing, and both sides say why', async t => {
  const nodes = await Nodes.open(t)
  const members = (await nodes.startAll(2)) as [Node, Node]
  await members[0].push('app', 'v1', makeImage([1_000]))
  await members[1].holds(3)

  const secretFile = await nodes.writeSecret('other-secret', 'a secret of somebody else')
  const join = members.map(({ mesh }) => mesh)
  const stranger = await nodes.start('stranger', { join, secretFile, aloneAfter: '1h' })
  for (const node of [stranger, ...members]) await node.logs(REFUSED)

  const status = await stranger.status()
  assert.equal(status.ready, false)
  // Who is refused says by whom and why, for as long as it is.
  assert.ok(status.reason.includes(`${members[0].mesh} refuses this node: ${REFUSED}`))
  assert.deepEqual(
    status.refusedBy,
    join.map(address => ({ address, reason: REFUSED }))
  )
  assert.deepEqual(status.peers, [])
  assert.deepEqual(status.images, [])
  assert.equal(status.blobs.held + status.blobs.missing, 0)
  assert.equal(await stranger.statusCode('/v2/app/manifests/v1'), 503)
  for (const member of members) {
    const { peers, ready } = await member.status()
    assert.equal(ready, true)
    assert.deepEqual(
      peers.map(({ name }) => name),
      members.filter(other => other !== member).map(({ name }) => name)
    )
  }
})

test('a secret added everywhere as the last line lets a node dial with it', async t => {
  const nodes = await Nodes.open(t)
  const both = await nodes.writeSecret('both', 'the secret of old times\nthe secret of new times')
  const next = await nodes.writeSecret('new', 'the secret of new times')
  const one = await nodes.start('node-1', { secretFile: both })
  const two = await nodes.start('node-2', { secretFile: next, join: [one.mesh] })
  await Promise.all([one.meets(1), two.meets(1)])
})
