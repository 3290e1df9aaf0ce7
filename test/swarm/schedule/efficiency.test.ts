import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type SimulateOptions, simulateSpread } from '../../../bench/simulate.ts'

const MiB = 1024 * 1024

const PLAIN: SimulateOptions = {
  nodes: 8,
  size: 512 * MiB,
  link: 200e6,
  slow: 0,
  dead: 0,
  late: 0,
  corrupt: 0,
  seed: 1,
  policy: 'starling'
}

test('seven nodes get 512 MiB within five per cent of the bound, and the source sends it once', () => {
  const found = run({})
  assert.ok(found.efficiency.p100 >= 0.95, `${found.efficiency.p100}`)
  assert.ok(found.seedEgressRatio <= 1.15, `${found.seedEgressRatio}`)
  assert.ok(found.duplicateRatio <= 0.02, `${found.duplicateRatio}`)
})

test('sixty nodes end together, near the bound', () => {
  const found = run({ nodes: 60, size: 128 * MiB, link: 1e9 })
  assert.ok(found.efficiency.p100 >= 0.92, `${found.efficiency.p100}`)
  assert.ok(found.fast.p100 / found.fast.p50 <= 1.05)
})

test('slow nodes do not hold up the others', () => {
  const found = run({ nodes: 60, size: 128 * MiB, link: 1e9, slow: 0.1 })
  assert.ok(found.fastEfficiency.p100 >= 0.8, `${found.fastEfficiency.p100}`)
  assert.ok(found.fast.p100 / found.fast.p50 <= 1.25)
})

test('all that live complete when nodes die, come late and send wrong pieces', () => {
  const found = run({ nodes: 60, size: 64 * MiB, link: 1e9, dead: 0.1, late: 0.2, corrupt: 2 })
  assert.equal(found.incomplete, 0)
})

test('a slow network is not taken for dead neighbours', () => {
  const found = run({ size: 64 * MiB, link: 2e6 })
  assert.ok(found.efficiency.p100 >= 0.9, `${found.efficiency.p100}`)
  assert.ok(found.duplicateRatio <= 0.03, `${found.duplicateRatio}`)
})

test('the rivals complete too, and later', () => {
  const ours = run({ nodes: 30, size: 64 * MiB, link: 1e9 })
  for (const policy of ['kraken', 'whole-blob'] as const) {
    const theirs = run({ nodes: 30, size: 64 * MiB, link: 1e9, policy })
    assert.equal(theirs.incomplete, 0)
    assert.ok(theirs.seconds.p100 > ours.seconds.p100)
  }
})

test('equal seeds give equal results', () => {
  const options = { nodes: 20, size: 16 * MiB, dead: 0.1, corrupt: 1 }
  const { wallSeconds: _, ...first } = run(options)
  const { wallSeconds: __, ...second } = run(options)
  assert.deepEqual(first, second)
})

interface Found {
  readonly efficiency: { readonly p100: number }
  readonly fastEfficiency: { readonly p100: number }
  readonly seconds: { readonly p100: number }
  readonly fast: { readonly p50: number; readonly p100: number }
  readonly seedEgressRatio: number
  readonly duplicateRatio: number
  readonly incomplete: number
  readonly wallSeconds: number
}

function run(options: Partial<SimulateOptions>): Found {
  return simulateSpread({ ...PLAIN, ...options }).json as unknown as Found
}
