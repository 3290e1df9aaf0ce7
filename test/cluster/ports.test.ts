/** What a node that cannot have its ports leaves behind in the cluster: nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { type NodeSettings, Nodes } from './nodes.ts'

test('a node that cannot have one of its ports says which, and becomes nobody to the others', async t => {
  const nodes = await Nodes.open(t)
  const first = await nodes.start('first')
  await first.ready()
  const join = [first.mesh]
  const taken: readonly (readonly [string, NodeSettings])[] = [
    [`--registry: cannot listen on ${first.registry}: `, { registry: [first.registry] }],
    [`--admin: cannot listen on ${first.admin}: `, { admin: first.admin }],
    [`--transfer: cannot listen on ${first.transfer}: `, { transfer: first.transfer }],
    [`--mesh: cannot listen on ${first.mesh}: `, { mesh: first.mesh }]
  ]
  for (const [words, settings] of taken) {
    await assert.rejects(nodes.start('ghost', { ...settings, join }), error => {
      assert.ok(isCode(error, 'CONFIG_INVALID'))
      assert.ok(error.message.startsWith(words), error.message)
      return true
    })
  }
  // Whoever meets this one is told by it of all whom it has met before.
  const last = await nodes.start('last', { join })
  const { peers } = await last.meets(1)
  assert.deepEqual(
    peers.map(({ name }) => name),
    ['first']
  )
  assert.ok(!first.log.includes('ghost'))
})
