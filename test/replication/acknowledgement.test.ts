/** What only fakes can hold still; the rest is tested with whole nodes. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import {
  Acknowledgement,
  type AcknowledgementOptions
} from '../../src/replication/acknowledgement.ts'
import { Graph } from '../../src/replication/graph.ts'
import { PATIENCE_MS } from '../helpers/until.ts'
import { named, peer } from './fixtures.ts'

const IMAGE = { repository: 'app', tags: ['v1'], digest: named('image') }

test('what no node holds any more is not acknowledged, however few copies would do', async () => {
  // The node that took the bytes, since this one has no room for them, has just been lost.
  const owed: unknown[] = []
  const acknowledgement = open({ isHeld: false, owed })
  const signal = AbortSignal.timeout(PATIENCE_MS)
  await assert.rejects(acknowledgement.pushed([], IMAGE, signal), { code: 'UNAVAILABLE' })
  assert.deepEqual(owed, [])
})

test('what this node alone holds is acknowledged with a warning, and owed', async () => {
  const owed: unknown[] = []
  const acknowledgement = open({ isHeld: true, owed })
  const [warning] = await acknowledgement.pushed([], IMAGE, AbortSignal.timeout(PATIENCE_MS))
  assert.match(warning ?? '', /^stored on 1 of 2 nodes/)
  assert.deepEqual(owed, [IMAGE])
})

test('a node that reached none of those it is to join warns, though it is all there is, and owes', async () => {
  const owed: unknown[] = []
  const discovery = { configured: true, answered: false }
  const acknowledgement = open({ isHeld: true, owed, peers: [], discovery })
  const [warning] = await acknowledgement.pushed([], IMAGE, AbortSignal.timeout(PATIENCE_MS))
  assert.match(warning ?? '', /^stored on 1 of 2 nodes, because this one has reached none of those/)
  assert.deepEqual(owed, [IMAGE])
})

test('a node that is to join nobody, or found only itself there, is the whole cluster', async () => {
  for (const discovery of [
    { configured: false, answered: false },
    { configured: true, answered: true }
  ]) {
    const owed: unknown[] = []
    const acknowledgement = open({ isHeld: true, owed, peers: [], discovery })
    const signal = AbortSignal.timeout(PATIENCE_MS)
    assert.deepEqual(await acknowledgement.pushed([], IMAGE, signal), [])
    assert.deepEqual(owed, [])
  }
})

interface Scene {
  readonly isHeld: boolean
  readonly owed: unknown[]
  readonly peers?: readonly PeerView[]
  readonly discovery?: { readonly configured: boolean; readonly answered: boolean }
}

function open({ isHeld, owed, ...scene }: Scene): Acknowledgement {
  const { peers = [peer('lost', { state: 'away' })] } = scene
  const { discovery = { configured: true, answered: false } } = scene
  const mesh = { peers: () => peers, discovery: () => discovery, handle: () => undefined }
  return new Acknowledgement({
    mesh: mesh as unknown as AcknowledgementOptions['mesh'],
    records: {} as AcknowledgementOptions['records'],
    inventory: { graph: new Graph(), holdsAll: () => isHeld, whenHeld: async () => isHeld },
    question: { ask: async () => false },
    owed: { add: image => void owed.push(image) },
    ...{ copies: 2, hold: 'all', ackWaitMs: 1_000, ackShort: 'accept', deadAfterMs: 1_000 },
    canHold: () => false,
    ...{ clock: systemClock, log: silentLog }
  })
}
