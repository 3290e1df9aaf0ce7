import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { StatusDocument } from '../../src/admin/status.ts'
import { Child } from './child.ts'
import { sampleOf } from './prometheus.ts'
import { Fatal, PATIENCE_MS, until } from './until.ts'

export interface DaemonOptions {
  readonly name: string
  readonly dataDir: string
  /** Mesh addresses, `host:port`, of nodes to join. */
  readonly join?: readonly string[]
  readonly secretFile?: string
  /** Where to listen; a free port of 127.0.0.1 where not given. */
  readonly listen?: Partial<Addresses>
  /** Further flags of `serve`. */
  readonly flags?: readonly string[]
  /** What to send to its admin port, where its users are asked for. */
  readonly authorization?: string
  /** The network namespace to run in, if not that of the test; it takes root. */
  readonly namespace?: string
}

/** The `host:port` of each listener, as in `DATA/listening.json`. */
export interface Addresses {
  readonly registry: string
  readonly admin: string
  readonly mesh: string
  readonly transfer: string
}

const MAIN = join(import.meta.dirname, '../../src/main.ts')

/** A real `serve` process, started as an operator starts it. */
export class Daemon {
  readonly options: DaemonOptions
  readonly addresses: Addresses
  readonly #child: Child

  private constructor(options: DaemonOptions, addresses: Addresses, child: Child) {
    this.options = options
    this.addresses = addresses
    this.#child = child
  }

  /** Starts the process and waits until its listeners are open; it need not be ready yet. */
  static async start(options: DaemonOptions): Promise<Daemon> {
    const file = join(options.dataDir, 'listening.json')
    await rm(file, { force: true })
    const [command = '', ...args] = [
      ...(options.namespace === undefined ? [] : ['ip', 'netns', 'exec', options.namespace]),
      ...[process.execPath, MAIN, 'serve', ...flagsOf(options)]
    ]
    const child = await Child.spawn(command, args)
    const addresses = await until(
      async () => {
        if (child.ended !== undefined) {
          throw new Fatal(`${options.name} ended with ${child.ended}\n${child.output}`)
        }
        return JSON.parse(await readFile(file, 'utf8')) as Addresses
      },
      { what: `${options.name} to listen` }
    ).catch(async (error: unknown) => {
      await child.end('SIGKILL')
      throw new Error(`${options.name} did not start\n${child.output}`, { cause: error })
    })
    return new Daemon(options, addresses, child)
  }

  get name(): string {
    return this.options.name
  }

  get pid(): number {
    return this.#child.pid
  }

  /** The end of its log. */
  get log(): string {
    return this.#child.output
  }

  /** Waits until `/readyz` answers 200. */
  async ready(timeoutMs = PATIENCE_MS): Promise<this> {
    await this.#until(() => this.#get('/readyz'), 'to be ready', timeoutMs)
    return this
  }

  async status(): Promise<StatusDocument> {
    const response = await this.#get('/status')
    return (await response.json()) as StatusDocument
  }

  /** Waits until the status satisfies a condition, and gives that status. */
  statusWhere(
    what: string,
    condition: (status: StatusDocument) => boolean,
    timeoutMs = PATIENCE_MS
  ): Promise<StatusDocument> {
    let last: StatusDocument | undefined
    const ask = async (): Promise<StatusDocument | false> => {
      last = await this.status()
      return condition(last) && last
    }
    return this.#until(ask, what, timeoutMs).catch((error: unknown) => {
      const { ready, reason, blobs, peers, transfers } = last ?? {}
      const seen = JSON.stringify({ ready, reason, blobs, peers, transfers })
      throw new Error(`${this.name}: in vain ${what}; at last it said ${seen}`, { cause: error })
    })
  }

  /** The sum of a metric's samples with these labels; 0 when there is none yet. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const response = await this.#get('/metrics')
    return sampleOf(await response.text(), name, labels)
  }

  /**
   * The most memory the process ever had resident, as the kernel keeps it (`VmHWM`): no sampling
   * can miss a peak. Linux only.
   */
  async peakRssBytes(): Promise<number> {
    const text = await readFile(`/proc/${this.pid}/status`, 'utf8')
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1]
    if (kilobytes === undefined) throw new Error(`no VmHWM for process ${this.pid}`)
    return Number(kilobytes) * 1024
  }

  /** SIGKILL: what a power cut is to a process. */
  kill(): Promise<string> {
    return this.#child.end('SIGKILL')
  }

  /** SIGTERM, and SIGKILL when that does not end it in time; gives how it ended. */
  stop(): Promise<string> {
    return this.#child.end('SIGTERM')
  }

  /** Resolves with how the process ended. */
  get exited(): Promise<string> {
    return this.#child.exited
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.signal(signal)
  }

  /**
   * Starts a process again that has ended, with the same command line; its mesh address is kept,
   * as that of a node of a cluster is, so that those who joined through it find it again. It joins
   * whom it joined before, unless told otherwise.
   */
  restart(join = this.options.join): Promise<Daemon> {
    const listen = { ...this.options.listen, mesh: this.addresses.mesh }
    return Daemon.start({ ...this.options, listen, ...(join && { join }) })
  }

  #until<T>(ask: () => Promise<T | false>, what: string, timeoutMs: number): Promise<T> {
    const askWhileAlive = (): Promise<T | false> => {
      if (this.#child.ended !== undefined) {
        throw new Fatal(`${this.name} ended with ${this.#child.ended}\n${this.log}`)
      }
      return ask()
    }
    return until(askWhileAlive, { what: `${this.name} ${what}`, timeoutMs, intervalMs: 100 }).catch(
      (error: unknown) => {
        throw new Error(`${this.name}: waited for it ${what}\n${this.log}`, { cause: error })
      }
    )
  }

  async #get(path: string): Promise<Response> {
    const url = `http://${this.addresses.admin}${path}`
    const { authorization } = this.options
    const response = await fetch(url, {
      signal: AbortSignal.timeout(PATIENCE_MS),
      ...(authorization !== undefined && { headers: { authorization } })
    })
    if (response.ok) return response
    throw new Error(`${url} answered ${response.status}: ${await response.text()}`)
  }
}

function flagsOf(options: DaemonOptions): string[] {
  const listeners = ['registry', 'admin', 'mesh', 'transfer'] as const
  return [
    ...['--data', options.dataDir, '--name', options.name],
    ...listeners.flatMap(name => [`--${name}`, options.listen?.[name] ?? '127.0.0.1:0']),
    ...(options.join ?? []).flatMap(address => ['--join', address]),
    ...(options.secretFile === undefined ? [] : ['--secret-file', options.secretFile]),
    ...(options.flags ?? [])
  ]
}
