import type { IncomingMessage, ServerResponse } from 'node:http'
import { type FastifyInstance, fastify } from 'fastify'
import { StarlingError, systemCode } from '../errors.ts'
import { cannotListen } from '../listen-error.ts'
import type { Log } from '../log.ts'
import { addGate, type Gate } from './gate.ts'
import type { Introspection } from './introspection.ts'
import { addOperationRoutes } from './operation-routes.ts'
import type { Operations } from './operations.ts'
import { addRoutes } from './routes.ts'

/** Probes, a scraper and some people; more than these many at once are somebody's mistake. */
const MAX_CONNECTIONS = 1_024

/** A request here is one line: whoever takes longer to send it, or sends none, makes way for probes. */
const REQUEST_TIMEOUT_MS = 3_000

export interface AdminServerOptions {
  /** A TCP address, port 0 for any free one, or the path of a socket. */
  readonly listen: { readonly host: string; readonly port: number } | { readonly path: string }
  readonly introspection: Introspection
  readonly log: Log
  /** What may be done besides looking; nothing if not given. */
  readonly operations?: Operations
  /** Who may look; everybody if not given. */
  readonly gate?: Gate | undefined
  /** Answers what is asked of the registry, under `/v2/`; nobody if not given. */
  readonly registry?: RegistryHandler
  /** How long a client may take to send a request, 3 s if not given; an answer may take longer. */
  readonly requestTimeoutMs?: number
}

export type RegistryHandler = (request: IncomingMessage, response: ServerResponse) => void

/** Health, metrics and status over HTTP, and on a socket operations too. */
export class AdminServer {
  readonly #app: ReturnType<typeof fastify>

  /** The port it listens on; 0 on a socket. */
  readonly port: number

  private constructor(app: ReturnType<typeof fastify>, port: number) {
    this.#app = app
    this.port = port
  }

  /** @throws `CONFIG_INVALID` when the address cannot be had. */
  static async open(options: AdminServerOptions): Promise<AdminServer> {
    const { listen, introspection, operations, log, gate } = options
    const requestTimeoutMs = options.requestTimeoutMs ?? REQUEST_TIMEOUT_MS
    // Not `connectionTimeout`: that would also cut a client off which waits for a slow answer.
    const app = fastify({
      forceCloseConnections: true,
      // The body of a blob may take hours.
      requestTimeout: options.registry === undefined ? requestTimeoutMs : 0,
      keepAliveTimeout: requestTimeoutMs,
      http: {
        headersTimeout: requestTimeoutMs,
        connectionsCheckingInterval: Math.min(requestTimeoutMs, 1_000)
      }
    })
    app.server.maxConnections = MAX_CONNECTIONS
    if (options.registry !== undefined) passRegistry(app, options.registry)
    if (gate !== undefined) addGate(app, gate)
    addRoutes(app, introspection)
    if (operations !== undefined) addOperationRoutes(app, operations)
    app.addHook('onError', async (request, _reply, error) => {
      log.debug({ path: request.url, error: error.message }, 'admin request failed')
    })
    await app.listen({ ...listen }).catch((cause: unknown) => {
      if (!('path' in listen)) throw cannotListen('--admin', `${listen.host}:${listen.port}`, cause)
      const message = `cannot listen on ${listen.path}: ${systemCode(cause) ?? cause}`
      throw new StarlingError('CONFIG_INVALID', message, { cause })
    })
    const address = app.server.address()
    return new AdminServer(app, typeof address === 'object' ? (address?.port ?? 0) : 0)
  }

  async close(): Promise<void> {
    await this.#app.close()
  }
}

/** Before anything of the body is read, which is the registry's. */
function passRegistry(app: FastifyInstance, registry: RegistryHandler): void {
  app.addHook('onRequest', (request, reply, done) => {
    if (!request.url.startsWith('/v2/')) return done()
    reply.hijack()
    registry(request.raw, reply.raw)
  })
}
