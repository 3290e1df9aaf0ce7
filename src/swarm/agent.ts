import type { ClientRequestArgs } from 'node:http'
import { Agent, type AgentOptions } from 'node:https'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect, createSecureContext, type TLSSocket } from 'node:tls'
import { StarlingError } from '../errors.ts'
import type { Credentials } from './certificate.ts'
import type { Holder } from './fetcher.ts'
import { peerFingerprint, tlsOptions } from './tls.ts'

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
    const { host, port } = this.#holder
    // `highWaterMark` is read by `tls.connect` but missing from its types.
    const options = { host, port, highWaterMark: BUFFER_BYTES, noDelay: true }
    const socket = connect({ ...this.#tls, ...options })
    this.#connecting.add(socket)

    const timer = setTimeout(
      () => socket.destroy(this.#failure('did not answer')),
      this.#connectTimeoutMs
    )
    const abort = () => socket.destroy(this.#failure('is not needed any more'))
    const settle = (error: Error | null) => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
      socket.off('error', settle)
      socket.off('close', closed)
      this.#connecting.delete(socket)
      if (error !== null) socket.on('error', ignore)
      callback?.(error, socket)
    }
    const closed = () => settle(this.#failure('closed the connection'))
    socket.once('error', settle)
    socket.once('close', closed)
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted) abort()

    socket.once('secureConnect', () => {
      if (peerFingerprint(socket) === this.#holder.fingerprint) {
        settle(null)
      } else {
        socket.destroy(
          new StarlingError('PEER_REFUSED', `${this.#holder.name} shows another certificate`, {
            detail: this.#holder.id
          })
        )
      }
    })
    return undefined
  }

  override destroy(): void {
    for (const socket of this.#connecting) socket.destroy(this.#failure('is let go'))
    super.destroy()
  }

  #failure(what: string): StarlingError {
    const { name, host, port } = this.#holder
    return new StarlingError('PEER_FAILED', `${name} at ${host}:${port} ${what}`)
  }
}

/** After a failure is settled the socket may fail once more on its way down. */
function ignore(): void {}
