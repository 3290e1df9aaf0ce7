import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { boundOf } from '../bench/bound.ts'
import { benchReport } from '../bench/draw.ts'
import { removeOfKilled } from '../bench/leftovers.ts'
import { simulateSpread } from '../bench/simulate.ts'

const IDLE = ['-e', 'console.log(1); setInterval(() => {}, 1000)', '--']

test('the next bench removes what a killed one left, and nothing of one that runs', {
  skip: process.platform !== 'linux' && 'processes are found in /proc'
}, async t => {
  const parent = await mkdtemp(join(tmpdir(), 'starling-leftovers-'))
  t.after(() => rm(parent, { recursive: true, force: true }))
  const running = await start(['bench/main.ts'])
  t.after(() => running.kill())
  const killed = await start([])
  killed.kill('SIGKILL')
  await once(killed, 'exit')
  const left = join(parent, `starling-bench-${killed.pid}-left`)
  const used = `starling-bench-${running.pid}-used`
  await mkdir(left)
  await mkdir(join(parent, used))
  await mkdir(join(parent, 'other'))
  const node = await start([join(left, 'node-1')])
  const ended = once(node, 'exit')

  await removeOfKilled(parent)

  assert.deepEqual(await ended, [null, 'SIGKILL'])
  assert.deepEqual((await readdir(parent)).sort(), ['other', used].sort())
})

test('the bound is one blob time, and one piece time for each doubling of the receivers', () => {
  assert.equal(boundOf(100, 10, 1, 10), 10)
  assert.equal(boundOf(100, 10, 7, 10), 12)
  assert.equal(boundOf(100, 10, 8, 10), 13)
})

test('pictures are drawn of what other benches wrote, and of nothing else', async t => {
  const dir = await mkdtemp(join(tmpdir(), 'starling-pictures-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  const simulation = simulateSpread({
    ...{ nodes: 4, size: 1024 ** 2, link: 200e6, slow: 0, dead: 0, late: 0, corrupt: 0, seed: 1 },
    ...{ policy: 'starling', pieces: true }
  })
  const file = join(dir, 'simulated.json')
  await writeFile(file, JSON.stringify(simulation.json))
  await benchReport({ files: [file], out: join(dir, 'pictures') })
  for (const picture of ['spread.svg', 'pieces.svg']) {
    const svg = await readFile(join(dir, 'pictures', picture), 'utf8')
    assert.match(svg, /^<svg .*<\/svg>\n$/s)
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/)
  }
  await writeFile(file, JSON.stringify({ bench: 'pull' }))
  await assert.rejects(benchReport({ files: [file], out: dir }), { code: 'CONFIG_INVALID' })
})

async function start(args: readonly string[]): Promise<ChildProcess> {
  const child = spawn(process.execPath, [...IDLE, ...args], {
    stdio: ['ignore', 'pipe', 'inherit']
  })
  await once(child.stdout ?? child, 'data')
  return child
}
