import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bits } from '../../../src/swarm/schedule/bits.ts'
import type { Event, Urgency } from '../../../src/swarm/schedule/messages.ts'
import { newSchedule } from '../../../src/swarm/schedule/schedule.ts'
import { step } from '../../../src/swarm/schedule/step.ts'

test('what another node waits for goes before the rest, and after what a client waits for', () => {
  const schedule = newSchedule()
  const tell = (event: Event) => step(schedule, event, 0, () => 0.5)
  const fetch = (blob: string, urgency: Urgency, order: number) => {
    const shape = { sizeBytes: 4_000, pieceBytes: 1_000, pieceCount: 4, held: new Bits(4) }
    tell({ kind: 'fetch', blob, urgency, order, ...shape })
  }
  const order = () => schedule.unfinished.map(({ blob }) => blob)
  fetch('old', 'background', 1)
  fetch('young', 'background', 2)
  fetch('owed', 'repair', 3)
  assert.deepEqual(order(), ['owed', 'old', 'young'])
  tell({ kind: 'urge', blob: 'young', urgency: 'repair' })
  assert.deepEqual(order(), ['young', 'owed', 'old'])
  tell({ kind: 'await', blob: 'old', cursor: 0 })
  tell({ kind: 'urge', blob: 'old', urgency: 'repair' })
  assert.deepEqual(order(), ['old', 'young', 'owed'])
})
