import { type IncomingMessage, Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Clock, systemClock } from '../clock.ts'
import { cannotListen } from '../listen-error.ts'
import type { Log } from '../log.ts'
import { type Access, OPEN_ACCESS, wantedBy } from './access.ts'
import { answerError, refuse } from './answer.ts'
import { blobRoutes } from './blobs.ts'
import { catalogRoutes } from './catalog.ts'
import { createServer, type Handler, IDLE_TIMEOUT_MS } from './connection.ts'
import type { Content } from './content.ts'
import { type Deputy, passOn } from './deputy.ts'
import { discoverRoutes } from './discover.ts'
import { manifestRoutes } from './manifests.ts'
import { namespaceOf, rewriteUrl } from './path.ts'
import { pingRoutes } from './ping.ts'
import type { PushDeputy } from './push-deputy.ts'
import { referrerRoutes } from './referrers.ts'
import { RelayedAccess } from './relayed-access.ts'
import type { RouteContext } from './routes.ts'
import { tagRoutes } from './tags.ts'
import type { Tls } from './tls.ts'
import type { UploadHomes } from './upload-homes.ts'
import { uploadRoutes } from './uploads.ts'

export interface ListenAddress {
  readonly host: string
  /** 0 for any that is free. */
  readonly port: number
}

export interface RequestReport {
  readonly method: string
  /** The route's pattern, never the path itself: its values are few. */
  readonly route: string
  /** What was answered; 499 when the client went first. */
  readonly status: number
  readonly seconds: number
}

export interface RegistryOptions {
  readonly listen: readonly ListenAddress[]
  /**
   * Requests wait until it resolves, so that the port can be had before there is anything to answer
   * with; where it rejects they are refused with that. Not at all if not given.
   */
  readonly opened?: Promise<void>
  readonly content: Content
  /** Who may do what; everybody everything if not given. */
  readonly access?: Access
  /** The other nodes that uploads may be on; without it every upload is here. */
  readonly homes?: UploadHomes
  /** Who answers what is asked about repositories, where this node stores nothing. */
  readonly deputy?: Deputy | undefined
  /** Who takes uploads that this node has no room for; without it they are refused. */
  readonly pushDeputy?: PushDeputy | undefined
  /** Routes beside those of the specification, such as the one that gives out tokens. */
  readonly otherRoutes?: (app: FastifyInstance, context: RouteContext) => Promise<void>
  /** Whether a pull of R with `?ns=H` that is not in `H/R` is looked for in R; no if not given. */
  readonly mirrorBare?: boolean
  /** Whether a HEAD of a blob by who may push mounts it from another repository; no if not given. */
  readonly mountOnHead?: boolean
  /** TLS on the same addresses; plain HTTP only if not given. */
  readonly tls?: Tls
  readonly log: Log
  /** How long a connection may be silent while it is the client's turn; 60 s if not given. */
  readonly idleTimeoutMs?: number
  readonly clock?: Clock
  readonly onRequest?: (report: RequestReport) => void
  readonly onBytes?: (direction: 'received' | 'sent', count: number) => void
}

/** The OCI registry's HTTP server, on one or more addresses. */
export class RegistryServer {
  /** Where it listens, in the order asked, with the ports that were given. */
  readonly addresses: readonly ListenAddress[]
  readonly #app: FastifyInstance
  readonly #servers: readonly Server[]
  readonly #access: RelayedAccess
  #closing: Promise<void> | undefined

  private constructor(
    app: FastifyInstance,
    access: RelayedAccess,
    servers: readonly Server[],
    addresses: readonly ListenAddress[]
  ) {
    this.#app = app
    this.#access = access
    this.#servers = servers
    this.addresses = addresses
  }

  /** Settles when every address is listened on; throws `CONFIG_INVALID` when one cannot be. */
  static async open(options: RegistryOptions): Promise<RegistryServer> {
    const idleTimeoutMs = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS
    let handler: Handler | undefined
    const access = new RelayedAccess(options.access ?? OPEN_ACCESS, options.homes?.here)
    const app = createApp(options, access, given => {
      handler = given
      // Fastify knows one server only; its own is never listened on, ours are.
      return new Server()
    })
    await app.ready()
    const servers: Server[] = []
    const addresses: ListenAddress[] = []
    try {
      for (const address of options.listen) {
        if (handler === undefined) break
        const server = createServer(handler, idleTimeoutMs, options.tls)
        servers.push(server)
        addresses.push(await listen(server, address))
      }
    } catch (error) {
      await Promise.all(servers.map(server => closeServer(server, 0)))
      await app.close()
      throw error
    }
    return new RegistryServer(app, access, servers, addresses)
  }

  /**
   * Answers a request for an upload that another node passes on. Whoever calls it has made sure that
   * it is a node of the cluster, which is believed that its client may push, and who that is.
   */
  answerRelayed(request: IncomingMessage, response: ServerResponse): void {
    this.#access.admit(request)
    this.#app.routing(request, response)
  }

  /** Answers a request of the user who runs this node, who may do everything. */
  answerOperator(request: IncomingMessage, response: ServerResponse): void {
    this.#access.admitOperator(request)
    this.#app.routing(request, response)
  }

  /** Takes no more connections, lets requests end until the deadline, then cuts them. */
  close(options: { deadlineMs: number }): Promise<void> {
    this.#closing ??= (async () => {
      await Promise.all(this.#servers.map(server => closeServer(server, options.deadlineMs)))
      await this.#app.close()
    })()
    return this.#closing
  }
}

/** Longer than any path: names and references are checked, in our own words, by their own rules. */
const MAX_PARAM_LENGTH = 64 * 1024

function createApp(
  options: RegistryOptions,
  access: RelayedAccess,
  serve: (handler: Handler) => Server
): FastifyInstance {
  const app = Fastify({
    serverFactory: handler => serve(handler),
    rewriteUrl: request => rewriteUrl(request.url ?? ''),
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    // A HEAD made from a GET would read the whole blob.
    exposeHeadRoutes: false
  })
  // Bodies are read by the routes, as streams, whatever their type: crane sends an empty body as JSON.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, _payload, done) => done(null))
  let { opened } = options
  const forget = () => {
    opened = undefined
  }
  opened?.then(forget, () => undefined)
  app.addHook('onRequest', async (request, reply) => {
    if (opened !== undefined) await opened
    reply.header('docker-distribution-api-version', 'registry/2.0')
    reply.header('x-content-type-options', 'nosniff')
    const namespace = namespaceOf(request.url)
    // Anything else makes no repository name, and could not be put into a header.
    if (namespace !== undefined && /^[\w.:-]+$/.test(namespace)) {
      reply.header('oci-namespace', namespace)
    }
    reportOnClose(request, reply, options)
    await access.check(request, reply, wantedBy(request))
  })
  app.setErrorHandler((error, request, reply) => answerError(error, request, reply, options.log))
  app.setNotFoundHandler((request, reply) => refuse(app, request, reply))

  const context: RouteContext = {
    content: options.content,
    access,
    homes: options.homes,
    pushDeputy: options.pushDeputy,
    isRelayed: request => access.isRelayed(request),
    mirrorBare: options.mirrorBare ?? false,
    mountOnHead: options.mountOnHead ?? false,
    log: options.log,
    onBytes: options.onBytes ?? (() => {})
  }
  if (options.deputy !== undefined) passOn(app, options.deputy, access, context)
  for (const routes of [
    pingRoutes,
    blobRoutes,
    uploadRoutes,
    manifestRoutes,
    referrerRoutes,
    tagRoutes,
    catalogRoutes,
    discoverRoutes
  ]) {
    app.register(routes, context)
  }
  if (options.otherRoutes !== undefined) app.register(options.otherRoutes, context)
  return app
}

/** Fastify's own hook for this does not run when the client breaks off. */
function reportOnClose(
  request: FastifyRequest,
  reply: FastifyReply,
  options: RegistryOptions
): void {
  const clock = options.clock ?? systemClock
  const startedMs = clock.monotonic()
  reply.raw.once('close', () => {
    const report: RequestReport = {
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: reply.raw.writableFinished ? reply.raw.statusCode : 499,
      seconds: (clock.monotonic() - startedMs) / 1000
    }
    options.log.debug({ ...report, url: request.originalUrl }, 'request answered')
    options.onRequest?.(report)
  })
}

async function listen(server: Server, address: ListenAddress): Promise<ListenAddress> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', cause => {
      reject(cannotListen('--registry', `${address.host}:${address.port}`, cause))
    })
    server.listen({ host: address.host, port: address.port }, resolve)
  })
  server.removeAllListeners('error')
  return { host: address.host, port: (server.address() as AddressInfo).port }
}

async function closeServer(server: Server, deadlineMs: number): Promise<void> {
  if (!server.listening) return
  const closed = new Promise<void>(resolve => server.close(() => resolve()))
  const timer = setTimeout(() => server.closeAllConnections(), deadlineMs)
  await closed
  clearTimeout(timer)
}
