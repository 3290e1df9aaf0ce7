/**
 * Proves that a disk that gets full at any step of a push is a clean error to the client, that reads
 * go on meanwhile, and that the next push works once there is room again. Prints one JSON object;
 * exits 1 when that does not hold. Needs root, to mount a small disk in memory.
 */
import { parseArgs } from 'node:util'
import { type FullDiskCase, fullDisk, isClean } from '../clients/full-disk.ts'

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '5' } } })
const rounds = Number(values.rounds)
const cases: FullDiskCase[] = []
for (let round = 0; round < rounds; round++) cases.push(...(await fullDisk()))
const unclean = cases.filter(one => !isClean(one))
const answers = Object.fromEntries(
  cases.map(({ step, status, code = '' }) => [step, `${status} ${code}`])
)
console.log(JSON.stringify({ prove: 'full-disk', rounds, answers, unclean }))
process.exitCode = unclean.length === 0 ? 0 : 1
