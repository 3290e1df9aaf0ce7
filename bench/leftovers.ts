import { execFile } from 'node:child_process'
import { readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { systemCode } from '../src/errors.ts'

/** What a bench makes outside of itself is called this, its process id, a dash, and more. */
const PREFIX = 'starling-bench-'
const NAMESPACES = '/run/netns'

const run = promisify(execFile)

/** Directories in which this process has made others. */
const parents = new Set<string>()

type Whose = (owner: number) => boolean | Promise<boolean>

/** How the directories and network namespaces of this process begin. */
export function ownPrefix(): string {
  return `${PREFIX}${process.pid}-`
}

/**
 * Removes what benches that were killed left behind in a directory and in the kernel: their nodes,
 * data and network namespaces. What this process makes there is from now on known to
 * {@link removeOwn}.
 */
export async function removeOfKilled(parent: string): Promise<void> {
  parents.add(parent)
  await removeNamespaces(isGone)
  await removeDirectories(parent, isGone)
}

/** Ends all that this process started and removes all that it made, wherever it was interrupted. */
export async function removeOwn(): Promise<void> {
  const isOwn = (owner: number) => owner === process.pid
  await removeNamespaces(isOwn)
  for (const parent of parents) await removeDirectories(parent, isOwn)
}

async function removeDirectories(parent: string, whose: Whose): Promise<void> {
  for (const name of await madeBy(parent, whose)) {
    const dir = join(parent, name)
    for (const pid of await processesNaming(dir)) kill(pid)
    // A node that is still ending may make a file meanwhile.
    await rm(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function removeNamespaces(whose: Whose): Promise<void> {
  for (const name of await madeBy(NAMESPACES, whose)) {
    // The bench that is being interrupted may be taking it down just now.
    const { stdout } = await run('ip', ['netns', 'pids', name]).catch(() => ({ stdout: '' }))
    for (const pid of stdout.split('\n')) if (pid !== '') kill(Number(pid))
    await run('ip', ['netns', 'delete', name]).catch(() => undefined)
  }
}

async function madeBy(parent: string, whose: Whose): Promise<string[]> {
  const names = await readdir(parent).catch(() => [])
  const made: string[] = []
  for (const name of names) {
    const [, owner] = new RegExp(`^${PREFIX}([0-9]+)-`).exec(name) ?? []
    if (owner !== undefined && (await whose(Number(owner)))) made.push(name)
  }
  return made
}

/** Process ids are given out again, so one that is alive counts only if it can be a bench. */
async function isGone(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0)
  } catch (error) {
    // Another user's process cannot be asked, but it is there.
    return systemCode(error) === 'ESRCH'
  }
  const command = await argumentsOf(pid)
  return command.length > 1 && !command.some(argument => argument.endsWith('bench/main.ts'))
}

async function processesNaming(dir: string): Promise<number[]> {
  const pids = (await readdir('/proc').catch(() => [])).filter(name => /^[0-9]+$/.test(name))
  const naming: number[] = []
  for (const pid of pids.map(Number)) {
    const named = (await argumentsOf(pid)).some(argument => argument.startsWith(`${dir}/`))
    if (named && pid !== process.pid) naming.push(pid)
  }
  return naming
}

async function argumentsOf(pid: number): Promise<string[]> {
  const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return line.split('\0')
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}
