import { type IncomingMessage, Server, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { systemCode } from '../errors.ts'
import { HttpAndTlsServer } from './first-byte.ts'
import type { Tls } from './tls.ts'

/** Handles one request, as `node:http` calls it. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => void

/**
 * No byte either way for so long, while it is the client's turn, ends a connection. There is no
 * limit on a whole request: a layer may take hours (a limit of 60 s cut such pushes elsewhere).
 */
export const IDLE_TIMEOUT_MS = 60_000

/** Longer than clients keep their idle connections (containerd: 30 s, Go's default: 90 s is rare). */
const KEEP_ALIVE_TIMEOUT_MS = 72_000

/** Leaves open files for blobs and peers under the usual limit of 65,536. */
const MAX_CONNECTIONS = 8_192

/** How long a client that is not speaking HTTP may take to read that. */
const LINGER_MS = 1_000

/**
 * An HTTP server with the rules above that hands requests to a handler. It is not listening yet.
 *
 * @param tls makes the server speak TLS beside plain HTTP
 */
export function createServer(handler: Handler, idleTimeoutMs: number, tls?: Tls): Server {
  const options = {
    requestTimeout: 0,
    headersTimeout: 60_000,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS
  }
  const server =
    tls === undefined ? new Server(options) : new HttpAndTlsServer(options, tls, idleTimeoutMs)
  server.maxConnections = MAX_CONNECTIONS
  server.timeout = idleTimeoutMs
  const exchanges: Exchanges = new WeakMap()
  const accept: Handler = (request, response) => {
    exchanges.set(request.socket, { request, response })
    // A closing server waits for kept-alive connections too, and looks for idle ones only once.
    response.once('close', () => {
      if (!server.listening) server.closeIdleConnections()
    })
    handler(request, response)
  }
  server.on('request', accept)
  // Without this Node would ask for the body itself, before anyone looked at the request.
  server.on('checkContinue', accept)
  server.on('timeout', socket => {
    if (isOurTurn(socket, exchanges.get(socket))) socket.setTimeout(idleTimeoutMs)
    else socket.destroy()
  })
  server.on('clientError', (error, socket) => {
    answerBadClient(error, socket as Socket, exchanges.get(socket as Socket)?.response)
  })
  return server
}

type Exchanges = WeakMap<Socket, { request: IncomingMessage; response: ServerResponse }>

/** Whether a silent connection waits for us: for a disk, for a peer, for an acknowledgement. */
function isOurTurn(
  socket: Socket,
  exchange: { request: IncomingMessage; response: ServerResponse } | undefined
): boolean {
  if (exchange === undefined || exchange.response.writableFinished) return false
  const { request } = exchange
  const clientIsSlowToRead = socket.writableLength > 0
  const clientIsSlowToSend = !request.complete && request.readableLength === 0
  return !clientIsSlowToRead && !clientIsSlowToSend
}

/**
 * Answers what is not HTTP. Clients that try TLS first (containerd, Zarf) fall back to plain HTTP
 * only when the answer to their ClientHello starts with "HTTP/", so it must not be lost to a reset:
 * the connection is half-closed, and cut a little later.
 */
function answerBadClient(error: Error, socket: Socket, response: ServerResponse | undefined): void {
  if (socket.writableEnded) return
  const midAnswer = response?.headersSent === true && !response.writableFinished
  if (!socket.writable || midAnswer || systemCode(error) === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const status = STATUS_LINES[systemCode(error) ?? ''] ?? '400 Bad Request'
  const body = JSON.stringify({
    errors: [{ code: 'UNSUPPORTED', message: `not a request of HTTP/1.1 (${status})` }]
  })
  socket.end(
    `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  )
  const timer = setTimeout(() => socket.destroy(), LINGER_MS)
  socket.once('close', () => clearTimeout(timer))
}

const STATUS_LINES: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout'
}
