import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from '../helpers/cluster.ts'
import { Namespaces } from '../helpers/namespaces.ts'
import { check } from '../history/checker.ts'
import { record } from '../history/record.ts'

test('clients at random while nodes are cut off, wiped and paused: every promise is kept', async t => {
  const namespaces = await Namespaces.open(3)
  t.after(() => namespaces.close())
  const flags = ['--gc-grace', '1s', '--lease', '20s']
  const { cluster, nodes } = await Cluster.start(3, { flags, namespaces })
  t.after(() => cluster.close())
  const history = await record({
    ...{ cluster, namespaces, nodes: [...nodes], seed: 7, durationMs: 20_000 },
    faults: ['isolate', 'isolate', 'wipe', 'pause']
  })
  assert.deepEqual(check(history), [])
  assert.ok(history.isolations.length > 0, 'no node was cut off')
})
