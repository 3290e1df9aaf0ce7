/**
 * Runs every proof in turn and gathers their figures in `results/prove.json`. Each is a script of
 * its own that prints one JSON object on its last line and exits 1 when its claim does not hold.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '../..')
const BENCH = ['bench/main.ts']
const REPLICATE = [...BENCH, 'replicate', '--json', '-', '--runs', '5']
const SHAPED = [...REPLICATE, '--link', '200mbit']
const SIMULATE = [...BENCH, 'simulate', '--nodes', '1000', '--size', '1GiB', '--json', '-']

/** Name, and the arguments of `node`. */
const PROOFS: readonly (readonly [name: string, ...args: string[]])[] = [
  ['large-blob', 'test/prove/large-blob.ts'],
  ['huge-layer', 'test/prove/huge-layer.ts'],
  ['many-blobs', 'test/prove/many-blobs.ts'],
  ['reconciliation', 'test/prove/reconciliation.ts'],
  ['lost-takers', 'test/prove/lost-takers.ts'],
  ['histories', 'test/prove/histories.ts'],
  ['fresh-tags', 'test/prove/fresh-tags.ts'],
  ['partition', 'test/prove/partition.ts'],
  ['collection', 'test/prove/collection.ts'],
  ['cut-through', 'test/prove/cut-through.ts'],
  ['dying-seed', 'test/prove/dying-seed.ts'],
  ['slow-node', 'test/prove/slow-node.ts'],
  ['on-demand', 'test/prove/on-demand.ts'],
  ['killed-pushes', 'test/prove/killed-pushes.ts'],
  ['full-disk', 'test/prove/full-disk.ts'],
  ['replicate', ...SHAPED, '--nodes', '2,4,8', '--size', '512MiB', '--expect', '0.85'],
  ['replicate-64MiB', ...SHAPED, '--nodes', '2,4,8', '--size', '64MiB', '--expect', '0.75'],
  ['replicate-8MiB', ...SHAPED, '--nodes', '8', '--size', '8MiB'],
  ['replicate-200x1MiB', ...SHAPED, '--nodes', '8', '--size', '1MiB', '--blobs', '200'],
  ['replicate-unshaped', ...REPLICATE, '--link', 'none', '--nodes', '4', '--size', '1GiB'],
  ['calibrate', ...BENCH, 'calibrate', '--json', '-'],
  ['small', ...BENCH, 'small', '--images', '200', '--json', '-'],
  ['join', ...BENCH, 'join', '--size', '2GiB', '--json', '-'],
  ['simulate', ...SIMULATE, '--expect', '0.88'],
  ['simulate-kraken', ...SIMULATE, '--policy', 'kraken'],
  ['simulate-slow', ...SIMULATE, '--slow', '0.1'],
  ['simulate-slow-kraken', ...SIMULATE, '--slow', '0.1', '--policy', 'kraken'],
  ['simulate-odd', ...SIMULATE, '--dead', '0.05', '--late', '0.05', '--corrupt', '1'],
  [
    'simulate-odd-kraken',
    ...[...SIMULATE, '--dead', '0.05', '--late', '0.05', '--corrupt', '1', '--policy', 'kraken']
  ]
]

const only = process.argv.slice(2)
const strange = only.filter(name => !PROOFS.some(([known]) => known === name))
if (strange.length > 0) {
  console.error(`no such proof: ${strange.join(', ')}; there are`)
  console.error(PROOFS.map(([name]) => `  ${name}`).join('\n'))
  process.exit(2)
}
const results: Record<string, unknown> = { node: process.version, cores: cpus().length }
for (const [name, ...args] of PROOFS) {
  if (only.length > 0 && !only.includes(name)) continue
  console.log(`== ${name}`)
  const { code, output } = await run(args)
  results[name] = {
    command: `node ${args.join(' ')}`,
    holds: code === 0,
    figures: lastJson(output)
  }
  console.log(`== ${name}: ${code === 0 ? 'holds' : 'DOES NOT HOLD'}`)
  if (code !== 0) process.exitCode = 1
}
await mkdir(join(ROOT, 'results'), { recursive: true })
await writeFile(join(ROOT, 'results/prove.json'), `${JSON.stringify(results, undefined, 2)}\n`)

async function run(args: readonly string[]): Promise<{ code: number | null; output: string }> {
  const child = spawn(process.execPath, [...process.execArgv, ...args], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    process.stdout.write(chunk)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}

function lastJson(output: string): unknown {
  const start = output.startsWith('{') ? 0 : output.lastIndexOf('\n{') + 1
  try {
    return JSON.parse(output.slice(start))
  } catch {
    return null
  }
}
