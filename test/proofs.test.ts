import assert from 'node:assert/strict'
import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { missedBars, PROOFS } from './prove/proofs.ts'

test('a figure below its bar is told in words, and so is one that is not there', () => {
  const bars = [
    { path: ['ratio', 'nginx'], least: 1 },
    { path: ['fast', 'p100'], over: ['fast', 'p50'], most: 1.25 },
    { path: ['gone', 'away'], most: 1 }
  ]
  assert.deepEqual(missedBars(bars, { ratio: { nginx: 1 }, fast: { p50: 4, p100: 5 } }), [
    'gone.away is NaN, not at most 1'
  ])
  assert.deepEqual(
    missedBars(bars.slice(0, 2), { ratio: { nginx: 0.9 }, fast: { p50: 2, p100: 3 } }),
    ['ratio.nginx is 0.9, not at least 1', 'fast.p100 / fast.p50 is 1.5, not at most 1.25']
  )
})

test('each proof has a name of its own and a script that is there', async () => {
  assert.equal(new Set(PROOFS.map(({ name }) => name)).size, PROOFS.length)
  for (const { args } of PROOFS) await access(join(import.meta.dirname, '..', args[0] ?? ''))
})

test('the table of proofs names those there are', async () => {
  const text = await readFile(join(import.meta.dirname, 'README.md'), 'utf8')
  const table = text.slice(text.indexOf('## Proofs'), text.indexOf('## Simulation'))
  const named = [...table.matchAll(/^\| `([a-z-]+)(…?)`/gm)].map(([, name = '']) => name)
  assert.ok(named.length > 10)
  for (const name of named)
    assert.ok(
      PROOFS.some(proof => proof.name === name),
      name
    )
  const scripts = PROOFS.filter(({ args }) => args[0]?.startsWith('test/prove/'))
  for (const { name } of scripts) assert.ok(named.includes(name), `${name} is not in the table`)
})
