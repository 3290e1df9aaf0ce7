import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { Worker } from 'node:worker_threads'
import type { Result } from './schedule.ts'
import type { Job } from './worker.ts'

/**
 * `npm run sim`: runs seeded schedules of the simulated cluster on every processor, and names the
 * seeds of those that broke a promise. `--seed N` runs one and tells what happens in it.
 */

const DEFAULT_SCHEDULES = 10_000
/** Then a worker is begun anew: what ended clusters leave in memory, some MiB each, goes with it. */
const SCHEDULES_OF_A_WORKER = 200
/** Every so many schedules a line says how far it is. */
const PROGRESS = 1_000

const { values } = parseArgs({
  options: {
    schedules: { type: 'string', default: String(DEFAULT_SCHEDULES) },
    from: { type: 'string', default: '1' },
    seed: { type: 'string' }
  }
})

const startedMs = performance.now()
const totals = { schedules: 0, broken: 0, acknowledged: 0, changes: 0, tasks: 0, seconds: 0 }
await (values.seed === undefined
  ? Promise.all(jobs(Number(values.from), Number(values.schedules)).map(runInTurn))
  : run({ from: Number(values.seed), count: 1, step: 1, tells: true }))
console.log(summary())
if (totals.broken > 0) process.exitCode = 1

/** Each processor takes every so manieth seed. */
function jobs(from: number, count: number): Job[] {
  const step = Math.min(availableParallelism(), count)
  return Array.from({ length: step }, (_, first) => ({
    from: from + first,
    count: Math.ceil((count - first) / step),
    step,
    tells: false
  }))
}

async function runInTurn(job: Job): Promise<void> {
  const { from, count, step } = job
  for (let done = 0; done < count; done += SCHEDULES_OF_A_WORKER) {
    const next = Math.min(SCHEDULES_OF_A_WORKER, count - done)
    await run({ ...job, from: from + done * step, count: next })
  }
}

async function run(job: Job): Promise<void> {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: job })
  const ended = Promise.withResolvers<void>()
  worker.on('message', (message: Result | string) => {
    if (typeof message === 'string') console.log(message)
    else note(message)
  })
  worker.on('error', ended.reject)
  worker.on('exit', () => ended.resolve())
  await ended.promise
}

function note({ seed, broken, ...sums }: Result): void {
  totals.schedules += 1
  for (const key of ['acknowledged', 'changes', 'tasks', 'seconds'] as const) {
    totals[key] += sums[key]
  }
  if (totals.schedules % PROGRESS === 0) console.log(summary())
  if (broken === undefined) return
  totals.broken += 1
  console.log(`seed ${seed}: ${broken}\n  again: npm run -s sim -- --seed ${seed}`)
}

function summary(): string {
  const { schedules, broken, acknowledged, changes, tasks, seconds } = totals
  const wallSeconds = (performance.now() - startedMs) / 1_000
  return (
    `${schedules} schedules, ${broken} broken: ${changes} changes, ${acknowledged} acknowledged, ` +
    `${tasks} steps, ${(seconds / 3_600).toFixed(1)} simulated hours in ${wallSeconds.toFixed(1)} s`
  )
}
