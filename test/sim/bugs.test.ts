import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Plant } from './bugs.ts'
import type { FaultKind } from './faults.ts'
import { installMachine } from './machine/install.ts'

installMachine()
const { runSchedule } = await import('./schedule.ts')

/** Bugs as they have been made elsewhere, and the faults without which they do no harm. */
const PLANTED: Readonly<Record<Plant, readonly FaultKind[]>> = {
  'no-sync': ['power'],
  'ack-before-copy': [],
  'tombstone-dropped': [],
  'clock-not-merged': ['clock'],
  'ready-too-early': ['kill'],
  'tag-kept-in-memory': []
}
const MAX_SCHEDULES = 50

for (const [plant, faults] of Object.entries(PLANTED)) {
  test(`a bug that was planted is found: ${plant}`, async () => {
    for (let seed = 1; seed <= MAX_SCHEDULES; seed++) {
      const { broken } = await runSchedule(seed, { plant: plant as Plant, faults })
      if (broken !== undefined) return
    }
    assert.fail(`not in ${MAX_SCHEDULES} schedules`)
  })
}

test('without a planted bug the same schedules break nothing', async () => {
  for (const faults of Object.values(PLANTED)) {
    const { broken } = await runSchedule(1, { faults })
    assert.equal(broken, undefined)
  }
})
