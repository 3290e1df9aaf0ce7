import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Child } from '../helpers/child.ts'
import { until } from '../helpers/until.ts'

/** One system call of one thread; moments are lines of the trace, so they can be compared. */
export interface SystemCall {
  readonly name: string
  /** Its arguments as strace prints them, file descriptors with their paths. */
  readonly text: string
  readonly begun: number
  readonly ended: number
}

const TRACED = 'write,writev,pwrite64,pwritev,fdatasync,fsync,rename'
const SHOWN_CHARACTERS = '32'

/** What a running process asks of the kernel about files and sockets while `work` runs. */
export async function traced(pid: number, work: () => Promise<void>): Promise<SystemCall[]> {
  const directory = await mkdtemp(join(tmpdir(), 'starling-trace-'))
  try {
    const file = join(directory, 'trace')
    const flags = ['-f', '-y', '-s', SHOWN_CHARACTERS, '-o', file, '-e', `trace=${TRACED}`]
    const tracer = await Child.spawn('strace', [...flags, '-p', String(pid)])
    await until(() => tracer.output.includes('attached'), {
      what: 'strace to attach'
    })
    await work()
    await tracer.end('SIGTERM')
    return parse(await readFile(file, 'utf8'))
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

const WHOLE = /^(\d+) +(\w+)\((.*)\) += \d+/
const BEGINNING = /^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$/
const END = /^(\d+) +<\.\.\. (\w+) resumed>.* = \d+/

/** Calls that failed are left out. */
function parse(trace: string): SystemCall[] {
  const open = new Map<string, SystemCall>()
  const calls: SystemCall[] = []
  for (const [line, content] of trace.split('\n').entries()) {
    const [, wholePid, wholeName = '', wholeText = ''] = WHOLE.exec(content) ?? []
    if (wholePid !== undefined) {
      calls.push({ name: wholeName, text: wholeText, begun: line, ended: line })
    }
    const [, begunPid, name = '', text = ''] = BEGINNING.exec(content) ?? []
    if (begunPid !== undefined) open.set(begunPid, { name, text, begun: line, ended: line })
    const begun = open.get(END.exec(content)?.[1] ?? '')
    if (begun !== undefined) calls.push({ ...begun, ended: line })
  }
  return calls.sort((a, b) => a.ended - b.ended)
}
