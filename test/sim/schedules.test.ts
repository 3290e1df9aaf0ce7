import assert from 'node:assert/strict'
import { test } from 'node:test'
import { installMachine } from './machine/install.ts'

installMachine()
const { runSchedule } = await import('./schedule.ts')

/** As many as take a few seconds; `npm run sim` runs ten thousand. */
const SCHEDULES = 14

test('no random schedule of faults makes the cluster break a promise', async () => {
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    const { broken } = await runSchedule(seed)
    assert.equal(broken, undefined, `npm run -s sim -- --seed ${seed}`)
  }
})

test('a seed decides all that happens', async () => {
  const [once, again] = [await runSchedule(7), await runSchedule(7)]
  assert.deepEqual(again, once)
})
