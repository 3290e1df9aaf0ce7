import { type ConnectionOptions, createSecureContext } from 'node:tls'
import { StarlingError } from '../errors.ts'
import type { Credentials } from './certificate.ts'
import type { Holder } from './fetcher.ts'
import { Gathering } from './gathering.ts'
import { Line } from './line.ts'
import { tlsOptions } from './tls.ts'

export interface LinesOptions {
  readonly credentials: Credentials
  readonly connectTimeoutMs: number
  /** How long an idle line is kept. */
  readonly idleTimeoutMs: number
  /** Lines kept idle, over all holders; beyond it the one longest unused is closed. */
  readonly maxIdle: number
}

interface Idle {
  readonly key: string
  readonly timer: NodeJS.Timeout
}

/** Lines that carry nothing at the moment, kept to be used again. */
export class Lines {
  readonly #options: LinesOptions
  readonly #tls: ConnectionOptions
  readonly #gathering = new Gathering()
  /** The order is that of last use. */
  readonly #idle = new Map<Line, Idle>()

  constructor(options: LinesOptions) {
    this.#options = options
    const tls = tlsOptions(options.credentials)
    this.#tls = { ...tls, secureContext: createSecureContext(tls) }
  }

  /** The idle line to a holder that was used last, if there is one. */
  takeIdle(holder: Holder): Line | undefined {
    const key = keyOf(holder)
    const line = [...this.#idle].findLast(([, idle]) => idle.key === key)?.[0]
    if (line !== undefined) this.#forget(line)
    return line
  }

  /** A new line. Throws as {@link Line.open}. */
  async open(holder: Holder, signal: AbortSignal): Promise<Line> {
    const { connectTimeoutMs } = this.#options
    const tls = this.#tls
    const gathering = this.#gathering
    const line = await Line.open({ holder, tls, connectTimeoutMs, gathering, signal })
    line.onClosed(() => this.#forget(line))
    return line
  }

  /** Keeps a line for the next request, if it can carry one. */
  giveBack(holder: Holder, line: Line): void {
    if (!line.isIdle) return
    const timer = setTimeout(() => this.#drop(line, 'idle'), this.#options.idleTimeoutMs)
    timer.unref()
    this.#idle.set(line, { key: keyOf(holder), timer })
    const [oldest] = this.#idle.keys()
    if (oldest !== undefined && this.#idle.size > this.#options.maxIdle)
      this.#drop(oldest, 'too many')
  }

  close(): void {
    for (const line of [...this.#idle.keys()]) this.#drop(line, 'closed')
  }

  #drop(line: Line, why: string): void {
    this.#forget(line)
    line.close(new StarlingError('CLOSED', `the connection is let go: ${why}`))
  }

  #forget(line: Line): void {
    clearTimeout(this.#idle.get(line)?.timer)
    this.#idle.delete(line)
  }
}

/** By who is met where. */
function keyOf({ fingerprint, host, port }: Holder): string {
  return `${fingerprint} ${host} ${port}`
}
