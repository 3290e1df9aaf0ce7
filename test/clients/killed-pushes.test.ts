import assert from 'node:assert/strict'
import { test } from 'node:test'
import { killedPushes } from './killed-pushes.ts'

const ROUNDS = 10

test('a node killed again and again while skopeo pushes and retries loses nothing that was acknowledged', async t => {
  const { acknowledged, killedMidway, openUploads, ...found } = await killedPushes(ROUNDS)
  t.diagnostic(`${acknowledged} acknowledged, ${killedMidway} killed midway, ${openUploads} left`)
  assert.deepEqual(found, { rounds: ROUNDS, lost: [], halfVisible: [], strayFiles: [] })
  assert.equal(acknowledged, ROUNDS, 'the client retried until each push had worked')
  assert.ok(killedMidway > 0, 'no kill came in time')
})
