import { parentPort, workerData } from 'node:worker_threads'
import { installMachine } from './machine/install.ts'

/** Which seeds one processor runs: `count` of them, from the first on in steps. */
export interface Job {
  readonly from: number
  readonly count: number
  readonly step: number
  /** Whether to tell what happens. */
  readonly tells: boolean
}

installMachine()
const { runSchedule } = await import('./schedule.ts')

const { from, count, step, tells } = workerData as Job
for (let index = 0; index < count; index++) {
  const trace = (line: string) => parentPort?.postMessage(line)
  parentPort?.postMessage(await runSchedule(from + index * step, tells ? { trace } : {}))
}
