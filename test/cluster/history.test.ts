import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Cluster } from '../helpers/cluster.ts'
import { check } from '../history/checker.ts'
import { record } from '../history/record.ts'

const SEED = 1
const DURATION_MS = 5_000

test('clients at random while nodes are killed and paused: nothing is lost, stale or resurrected', async t => {
  const { cluster, nodes } = await Cluster.start(3, {
    flags: ['--gc-grace', '1s', '--lease', '20s']
  })
  t.after(() => cluster.close())
  const faults = ['kill', 'pause', 'wipe'] as const
  const history = await record({
    ...{ cluster, nodes: [...nodes], faults },
    ...{ seed: SEED, durationMs: DURATION_MS }
  })
  assert.deepEqual(check(history), [])
  const pulled = history.operations.filter(
    ({ action }) => action.kind === 'pull' && action.found.kind === 'image'
  )
  assert.ok(pulled.length > 0, 'no image was pulled at all')
})
