import assert from 'node:assert/strict'
import { test } from 'node:test'
import { makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import { pull, push } from '../history/client.ts'

const REPOSITORY = 'app'

test('a push that does not get its copies leaves the tag where it was, and the next one moves it', async t => {
  const flags = ['--ack-wait', '5s', '--dead-after', '10m']
  const { cluster, nodes } = await Cluster.start(2, { flags })
  t.after(() => cluster.close())
  const [taker, other] = nodes
  assert.ok(taker && other)
  const { registry } = taker.addresses
  const [old, next] = [makeImage([1_000]), makeImage([2_000])]
  assert.equal((await push(registry, REPOSITORY, 'v1', old)).outcome, 'done')

  // It counts as live for a minute, and makes no copy meanwhile.
  other.signal('SIGSTOP')
  assert.equal((await push(registry, REPOSITORY, 'v1', next)).outcome, 'unknown')
  assert.deepEqual((await pull(registry, REPOSITORY, 'v1')).found, found(old))

  other.signal('SIGCONT')
  assert.equal((await push(registry, REPOSITORY, 'v1', next)).outcome, 'done')
  for (const { addresses } of nodes) {
    assert.deepEqual((await pull(addresses.registry, REPOSITORY, 'v1')).found, found(next))
  }
})

function found({ digest }: ReturnType<typeof makeImage>) {
  return { kind: 'image', digest }
}
