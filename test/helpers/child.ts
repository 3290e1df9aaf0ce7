import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { PATIENCE_MS } from './until.ts'

/** The end of what a process printed, kept for messages. */
const OUTPUT_KEPT_CHARACTERS = 64 * 1024

const running = new Set<ChildProcess>()

/**
 * A long-running process of a test. It is signalled by its own process id only, and does not
 * outlive the test process, however that one ends, short of SIGKILL.
 */
export class Child {
  readonly pid: number
  /** Resolves with how the process ended; never rejects. */
  readonly exited: Promise<string>
  readonly #process: ChildProcess
  #output = ''
  #ended: string | undefined

  private constructor(process: ChildProcess, pid: number) {
    this.#process = process
    this.pid = pid
    running.add(process)
    for (const stream of [process.stdout, process.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-OUTPUT_KEPT_CHARACTERS)
      })
    }
    this.exited = once(process, 'exit').then(([code, signal]) => {
      running.delete(process)
      this.#ended = signal === null ? `exit code ${code}` : `${signal}`
      return this.#ended
    })
  }

  static async spawn(
    command: string,
    args: readonly string[],
    options: Pick<SpawnOptions, 'cwd' | 'env'> = {}
  ): Promise<Child> {
    const process = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    await once(process, 'spawn')
    if (process.pid === undefined) throw new Error(`${command} has no process id`)
    return new Child(process, process.pid)
  }

  /** How the process ended, or `undefined` while it runs. */
  get ended(): string | undefined {
    return this.#ended
  }

  /** The last 64 Ki characters it printed, both streams as they came. */
  get output(): string {
    return this.#output
  }

  /** Sends a signal and waits for the end; at once when it has ended. */
  async end(signal: 'SIGTERM' | 'SIGKILL', timeoutMs = PATIENCE_MS): Promise<string> {
    if (this.#ended !== undefined) return this.#ended
    this.#process.kill(signal)
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), timeoutMs)
    try {
      return await this.exited
    } finally {
      clearTimeout(timer)
    }
  }

  /** Sends a signal that does not end the process, such as SIGSTOP. */
  signal(signal: NodeJS.Signals): void {
    this.#process.kill(signal)
  }
}

process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.once(signal, () => process.exit(1))
}
