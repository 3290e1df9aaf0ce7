import { readFile } from 'node:fs/promises'

/** The unit of times in `/proc`, the same on every Linux of today. */
const TICKS_PER_SECOND = 100

/** Processor time that a process and its living children have used so far (Linux; else 0). */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await read(`/proc/${pid}/stat`)
  // The name in parentheses may hold anything; the fields after it are numbers.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  let seconds = (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND
  const children = await read(`/proc/${pid}/task/${pid}/children`)
  for (const child of children.split(' ').filter(each => each !== '')) {
    seconds += await cpuSeconds(Number(child))
  }
  return seconds
}

function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
