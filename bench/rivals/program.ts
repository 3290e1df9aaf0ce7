import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { openSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { StarlingError } from '../../src/errors.ts'

const START_TIMEOUT_MS = 15_000
const POLL_MS = 25

/** A port that nothing listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port was opened')
  return address.port
}

/**
 * Runs an installed program until it takes connections on its port; its words go to `logFile`.
 * Throws `CONFIG_INVALID` when it is not installed or does not come up.
 */
export async function startProgram(
  command: string,
  args: readonly string[],
  port: number,
  logFile: string
): Promise<{ pid: number; stop: () => Promise<void> }> {
  const log = openSync(logFile, 'a')
  const child = spawn(command, args, { stdio: ['ignore', log, log] })
  const failed = once(child, 'error').then(([error]) => {
    throw new StarlingError('CONFIG_INVALID', `cannot run ${command}`, { cause: error })
  })
  await Promise.race([failed, listening(child, command, port, logFile)])
  return { pid: child.pid ?? 0, stop: () => end(child) }
}

async function listening(
  child: ChildProcess,
  command: string,
  port: number,
  logFile: string
): Promise<void> {
  for (let waitedMs = 0; waitedMs < START_TIMEOUT_MS; waitedMs += POLL_MS) {
    if (child.exitCode !== null) break
    if (await answers(port)) return
    await delay(POLL_MS)
  }
  child.kill('SIGKILL')
  throw new StarlingError('CONFIG_INVALID', `${command} did not start: see ${logFile}`)
}

function answers(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
    socket.once('connect', () => socket.destroy())
  })
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}
