import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Holder } from '../../src/swarm/fetcher.ts'
import { Holders } from '../../src/swarm/holders.ts'

const MiB = 1024 * 1024
const NOBODY: ReadonlySet<string> = new Set()

function holder(id: string): Holder {
  return { id, name: id, host: '127.0.0.1', port: 1, fingerprint: id }
}

const a = holder('a')
const b = holder('b')
const c = holder('c')

/** Holders with a clock and a die that the test owns. */
function openHolders() {
  const time = { ms: 0 }
  const die = { next: 0 }
  const clock = { now: () => 0, monotonic: () => time.ms }
  return { holders: new Holders({ clock, random: () => die.next }), time, die }
}

test('any candidate may be next, by chance, unless it is excluded', () => {
  const { holders, die } = openHolders()
  assert.equal(holders.next([a, b, c], NOBODY), a)
  die.next = 0.999
  assert.equal(holders.next([a, b, c], NOBODY), c)
  assert.equal(holders.next([a, b, c], new Set(['c'])), b)
  assert.equal(holders.next([c], new Set(['c'])), undefined)
  assert.equal(holders.next([], NOBODY), undefined)
})

test('a holder that fails again and again waits twice as long each time, up to a bound', () => {
  const { holders, time } = openHolders()
  const waits: number[] = []
  for (let failure = 0; failure < 10; failure++) {
    holders.report({ holder: a, outcome: 'failed', bytes: 0 })
    assert.equal(holders.next([a], NOBODY), undefined)
    waits.push(holders.asideMs('a'))
    time.ms += holders.asideMs('a')
    assert.equal(holders.next([a], NOBODY), a)
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 30000])
})

test('a holder that failed comes after those that did not, until it succeeds', () => {
  const { holders, time } = openHolders()
  holders.report({ holder: a, outcome: 'stalled', bytes: 5 * MiB })
  time.ms += 1_000
  assert.equal(holders.next([a, b], NOBODY), b)
  assert.equal(holders.next([a, b], new Set(['b'])), a)
  holders.report({ holder: a, outcome: 'done', bytes: 1 })
  assert.equal(holders.next([a, b], NOBODY), a)
})

test('breaking off after good progress, and not having the blob, are not held against it', () => {
  const { holders } = openHolders()
  holders.report({ holder: a, outcome: 'failed', bytes: MiB })
  holders.report({ holder: a, outcome: 'unknown', bytes: 0 })
  assert.equal(holders.next([a], NOBODY), a)
})

test('wrong bytes put a holder aside for ten minutes, whatever it does meanwhile', () => {
  const { holders, time } = openHolders()
  holders.report({ holder: a, outcome: 'wrong', bytes: MiB })
  holders.report({ holder: a, outcome: 'done', bytes: MiB })
  holders.report({ holder: a, outcome: 'failed', bytes: MiB })
  assert.equal(holders.asideMs('a'), 600_000)
  assert.equal(holders.next([a], NOBODY), undefined)
  time.ms += 600_000
  assert.equal(holders.next([a, b], NOBODY), b)
  assert.equal(holders.next([a], NOBODY), a)
  holders.report({ holder: a, outcome: 'done', bytes: MiB })
  assert.equal(holders.next([a, b], NOBODY), a)
})

test('a holder that comes back as a new process starts afresh', () => {
  const { holders } = openHolders()
  holders.report({ holder: a, outcome: 'wrong', bytes: 0 })
  holders.forgive('a')
  assert.equal(holders.next([a], NOBODY), a)
})
