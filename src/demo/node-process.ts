import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { mkdir, readFile, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { controlSocket } from '../admin/control.ts'
import { systemClock } from '../clock.ts'
import { StarlingError } from '../errors.ts'

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url))
/** A node opens its ports within a second or two; a machine may be busy with fifty other things. */
const START_TIMEOUT_MS = 120_000
/** Of what a node that did not start has said, the end: the error is among the last lines. */
const SHOWN_LOG_BYTES = 4_096
const POLL_MS = 25
const LOOPBACK = '127.0.0.1'

export interface NodeAddresses {
  readonly registry: string
  readonly admin: string
  readonly mesh: string
  readonly transfer: string
}

/** What `/status` tells that the demo and the benches look at. */
export interface NodeStatus {
  readonly ready: boolean
  readonly reason: string
  readonly blobs: { readonly held: number; readonly missing: number; readonly bytesHeld: number }
  readonly peers: readonly { readonly name: string; readonly state: string }[]
}

export interface NodeProcessOptions {
  readonly name: string
  /** The data directory; the log is written beside it, as `DIR.log`. */
  readonly dataDir: string
  readonly join?: string
  readonly secretFile: string
  readonly flags?: readonly string[]
  /** Where other nodes reach it; the loopback interface unless told otherwise. */
  readonly host?: string
  /** A command that runs it elsewhere, as `ip netns exec NAME` does, by becoming it. */
  readonly within?: readonly string[]
}

/** A real `starling serve` in a process of its own, on free ports. */
export class NodeProcess {
  readonly name: string
  readonly dataDir: string
  readonly addresses: NodeAddresses
  readonly #child: ChildProcess

  private constructor(
    name: string,
    dataDir: string,
    child: ChildProcess,
    addresses: NodeAddresses
  ) {
    this.name = name
    this.dataDir = dataDir
    this.#child = child
    this.addresses = addresses
  }

  static async start(options: NodeProcessOptions): Promise<NodeProcess> {
    const { name, dataDir, join: joined, secretFile, flags = [], host = LOOPBACK } = options
    await mkdir(dataDir, { recursive: true })
    const listening = join(dataDir, 'listening.json')
    await rm(listening, { force: true })
    const ports = [
      ...['--registry', `${LOOPBACK}:0`, '--admin', `${LOOPBACK}:0`],
      ...['--mesh', `${host}:0`, '--transfer', `${host}:0`]
    ]
    const joining = joined === undefined ? [] : ['--join', joined]
    const args = ['--data', dataDir, '--name', name, '--secret-file', secretFile]
    const serve = [process.execPath, MAIN, 'serve', ...args, ...ports, ...joining, ...flags]
    const [command = process.execPath, ...rest] = [...(options.within ?? []), ...serve]
    const child = spawn(command, rest, { stdio: ['ignore', 'ignore', 'pipe'] })
    child.stderr?.pipe(createWriteStream(`${dataDir}.log`, { flags: 'a' }))
    const said = lastOf(child)
    const closed = new Promise(resolve => child.once('close', resolve))
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null
    const deadline = systemClock.monotonic() + START_TIMEOUT_MS
    while (systemClock.monotonic() < deadline && !hasEnded()) {
      const addresses = await readAddresses(listening)
      if (addresses !== undefined) return new NodeProcess(name, dataDir, child, addresses)
      await delay(POLL_MS)
    }
    const why = hasEnded() ? 'it ended' : `nothing listened after ${START_TIMEOUT_MS / 1000} s`
    child.kill('SIGKILL')
    await closed
    // The demo deletes the log with the rest, so the message carries what matters of it.
    throw new StarlingError('UNAVAILABLE', `node ${name} did not start: ${why}\n${said()}`)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async status(): Promise<NodeStatus> {
    return JSON.parse(await this.ask('/status?images=0')) as NodeStatus
  }

  /** What its control socket answers to a GET; it needs no network, so it works from anywhere. */
  async ask(path: string): Promise<string> {
    const asking = request({ socketPath: controlSocket(this.dataDir), path }).end()
    const [response] = await once(asking, 'response')
    return text(response)
  }

  /** Waits until the status is as wanted; ends with the signal. */
  async until(wanted: (status: NodeStatus) => boolean, signal?: AbortSignal): Promise<NodeStatus> {
    for (;;) {
      signal?.throwIfAborted()
      const status = await this.status()
      if (wanted(status)) return status
      await delay(POLL_MS, undefined, signal && { signal })
    }
  }

  /** Ends the process at once, as a power cut would. */
  kill(): Promise<void> {
    return this.#end('SIGKILL')
  }

  /** Asks the process to stop in order. */
  stop(): Promise<void> {
    return this.#end('SIGTERM')
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const exited = once(this.#child, 'exit')
    this.#child.kill(signal)
    await exited
  }
}

/** What a process has written last to its standard error. */
function lastOf(child: ChildProcess): () => string {
  let last = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    last = (last + text).slice(-SHOWN_LOG_BYTES)
  })
  return () => last.trimEnd()
}

async function readAddresses(file: string): Promise<NodeAddresses | undefined> {
  try {
    return JSON.parse(await readFile(file, 'utf8')) as NodeAddresses
  } catch {
    // Not written yet, or not whole yet.
    return undefined
  }
}
