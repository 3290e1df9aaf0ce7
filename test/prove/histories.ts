/**
 * Proves P1, P2, P3 and P6 on histories: clients push, pull, retag and delete at random through
 * three nodes, each in a network namespace, while nodes are killed, wiped, paused and cut off.
 * Prints one JSON object; exits 1 when a promise was broken, with the seed that it can be repeated
 * with and the operations that show it. Needs root.
 */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Cluster } from '../helpers/cluster.ts'
import { Namespaces } from '../helpers/namespaces.ts'
import { check } from '../history/checker.ts'
import type { Fault } from '../history/nemesis.ts'
import type { History } from '../history/operation.ts'
import { record } from '../history/record.ts'

const NODES = 3
const FAULTS: readonly Fault[] = ['kill', 'wipe', 'pause', 'isolate']
const RESULTS = join(import.meta.dirname, '../../results')

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: '1' }
  }
})
const counts: Record<string, number> = {}
let broken = 0
for (let round = 0; round < Number(values.rounds); round++) {
  const seed = Number(values.seed) + round
  const history = await recorded(seed, Number(values.seconds) * 1000)
  count(history)
  const violations = check(history)
  broken += violations.length
  if (violations.length === 0) continue
  await mkdir(RESULTS, { recursive: true })
  const file = join(RESULTS, `history-${seed}.json`)
  await writeFile(file, `${JSON.stringify({ violations, ...history }, undefined, 1)}\n`)
  console.error(`seed ${seed}: ${violations.length} promises broken, see ${file}`)
}
console.log(JSON.stringify({ prove: 'histories', ...values, broken, operations: counts }))
process.exitCode = broken === 0 ? 0 : 1

async function recorded(seed: number, durationMs: number): Promise<History> {
  const namespaces = await Namespaces.open(NODES)
  const { cluster, nodes } = await Cluster.start(NODES, {
    flags: ['--gc-grace', '1s', '--lease', '20s'],
    namespaces
  }).catch(async (error: unknown) => {
    await namespaces.close()
    throw error
  })
  try {
    const faults = { faults: FAULTS, namespaces }
    return await record({ cluster, nodes: [...nodes], ...faults, seed, durationMs })
  } finally {
    await cluster.close()
    await namespaces.close()
  }
}

function count({ operations }: History): void {
  for (const { action } of operations) {
    const what = action.kind === 'pull' ? action.found.kind : action.outcome
    const name = `${action.kind} ${what}`
    counts[name] = (counts[name] ?? 0) + 1
  }
}
