/**
 * Runs every proof in turn, or those that are named, and keeps their figures in
 * `results/prove.json`, each with its command, its commit and its time. A proof is a script of its
 * own that prints one JSON object last and exits 1 when its claim does not hold.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { systemCode } from '../../src/errors.ts'
import { missedBars, PROOFS, type Proof } from './proofs.ts'

const ROOT = join(import.meta.dirname, '../..')
const RESULTS = join(ROOT, 'results/prove.json')

const only = process.argv.slice(2)
const strange = only.filter(name => !PROOFS.some(proof => proof.name === name))
if (strange.length > 0) {
  console.error(`no such proof: ${strange.join(', ')}; there are`)
  console.error(PROOFS.map(({ name }) => `  ${name}`).join('\n'))
  process.exit(2)
}
await mkdir(join(ROOT, 'results'), { recursive: true })
const commit = (await run('git', ['describe', '--always', '--dirty'])).output.trim()
for (const proof of PROOFS) {
  if (only.length === 0 || only.includes(proof.name)) await prove(proof)
}

async function prove({ name, args, bars = [] }: Proof): Promise<void> {
  console.log(`== ${name}`)
  const time = new Date().toISOString()
  const { code, output } = await run(process.execPath, [...process.execArgv, ...args])
  const figures = figuresOf(output)
  const missed = missedBars(bars, figures)
  const holds = code === 0 && missed.length === 0
  await keep(name, { command: `node ${args.join(' ')}`, commit, time, holds, missed, figures })
  console.log(`== ${name}: ${holds ? 'holds' : ['DOES NOT HOLD', ...missed].join('; ')}`)
  if (!holds) process.exitCode = 1
}

/** At once, so that a run that is cut off has told what it found. */
async function keep(name: string, result: object): Promise<void> {
  const before = await readFile(RESULTS, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return '{}'
    throw error
  })
  const machine = { node: process.version, cores: cpus().length }
  const results = { ...JSON.parse(before), ...machine, [name]: result }
  await writeFile(RESULTS, `${JSON.stringify(results, undefined, 2)}\n`)
}

async function run(
  program: string,
  args: readonly string[]
): Promise<{ code: number | null; output: string }> {
  const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString()
    process.stdout.write(chunk)
  })
  const [code] = (await once(child, 'close')) as [number | null]
  return { code, output }
}

/** The JSON object that was printed last; the last lines of a proof that counts in words. */
function figuresOf(output: string): unknown {
  const start = output.startsWith('{') ? 0 : output.lastIndexOf('\n{') + 1
  try {
    return JSON.parse(output.slice(start))
  } catch {
    return output.trim().split('\n').slice(-4)
  }
}
