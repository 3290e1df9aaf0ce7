import type { ClientRequestArgs } from 'node:http'
import { Agent, type AgentOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, createSecureContext, type TLSSocket } from 'node:tls'
import type { Credentials } from './certificate.ts'
import type { Holder } from './fetcher.ts'
import { connectPinned, failure } from './pinned-socket.ts'
import { tlsOptions } from './tls.ts'

/**
 * What the socket and the response above it buffer for a reader that is busy. The reader then gets
 * it in one piece, so that a slow sink is given few large chunks instead of many of 16 KiB.
 */
const BUFFER_BYTES = 1024 * 1024

export interface PinnedRequestOptions extends ClientRequestArgs {
  /** Ends the making of a connection. Node keeps the request's own `signal` from its agent. */
  readonly connectSignal?: AbortSignal
}

/** Connections to one holder, kept alive, each handed out only after its certificate was compared. */
export class PinnedAgent extends Agent {
  readonly #holder: Holder
  readonly #tls: ConnectionOptions
  readonly #connectTimeoutMs: number
  readonly #connecting = new Set<TLSSocket>()

  constructor(options: {
    readonly holder: Holder
    readonly credentials: Credentials
    readonly connectTimeoutMs: number
    /** How long a connection is kept without a request; shorter than the server keeps it. */
    readonly idleTimeoutMs: number
    readonly maxSockets: number
  }) {
    const agentOptions: AgentOptions = {
      keepAlive: true,
      maxSockets: options.maxSockets,
      maxCachedSessions: 0,
      timeout: options.idleTimeoutMs
    }
    super(agentOptions)
    this.#holder = options.holder
    const tls = tlsOptions(options.credentials)
    this.#tls = { ...tls, secureContext: createSecureContext(tls) }
    this.#connectTimeoutMs = options.connectTimeoutMs
  }

  /** Whether a request is under way on any of its connections. */
  get busy(): boolean {
    return this.#connecting.size > 0 || Object.keys(this.sockets).length > 0
  }

  /** Called by Node, with the options of the request, when it finds no idle connection. */
  override createConnection(
    { connectSignal: signal }: PinnedRequestOptions,
    callback?: (error: Error | null, socket: Duplex) => void
  ): undefined {
    // `highWaterMark` is read by `tls.connect` but missing from its types.
    const more = { highWaterMark: BUFFER_BYTES, noDelay: true }
    const options = {
      holder: this.#holder,
      tls: { ...this.#tls, ...more },
      connectTimeoutMs: this.#connectTimeoutMs,
      signal
    }
    const socket = connectPinned(options, (error, connected) => {
      this.#connecting.delete(connected)
      callback?.(error, connected)
    })
    this.#connecting.add(socket)
    return undefined
  }

  override destroy(): void {
    for (const socket of this.#connecting) socket.destroy(failure(this.#holder, 'is let go'))
    super.destroy()
  }
}
