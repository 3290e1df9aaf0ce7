import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { createServer as createTlsServer, TLSSocket, type Server as TlsServer } from 'node:tls'
import { StarlingError } from '../errors.ts'
import { cannotListen } from '../listen-error.ts'
import type { Log } from '../log.ts'
import type { Credentials } from './certificate.ts'
import { Gate } from './gate.ts'
import { Intake, type RelayHandler } from './intake.ts'
import { PieceCounter } from './piece-counter.ts'
import type { PieceDesk } from './piece-desk.ts'
import type { RateLimit } from './rate-limit.ts'
import { isForBatch, sendBatch } from './send-batch.ts'
import { type BlobSource, sendBlob } from './send-blob.ts'
import { peerFingerprint, tlsOptions } from './tls.ts'

export interface ServerLimits {
  /** For the TLS handshake of somebody who is not known yet. */
  readonly handshakeTimeoutMs: number
  /** How long a connection is kept between two requests. */
  readonly idleTimeoutMs: number
  /** How long a peer may send nothing of a request, or read nothing of a response. */
  readonly stallTimeoutMs: number
  /** Connections at once, handshakes included; beyond it new ones are closed at once. */
  readonly maxConnections: number
  /** Connections at once without a pinned certificate; beyond it the oldest is closed. */
  readonly maxStrangers: number
  /** Responses at once; beyond it 503. Each costs up to 2 MiB of buffers. */
  readonly maxResponses: number
  /** Responses at once to one peer, so that a stuck one cannot take every place. */
  readonly maxResponsesPerPeer: number
}

const SERVER_LIMITS: ServerLimits = {
  handshakeTimeoutMs: 5_000,
  idleTimeoutMs: 60_000,
  stallTimeoutMs: 30_000,
  maxConnections: 1_024,
  maxStrangers: 256,
  maxResponses: 64,
  maxResponsesPerPeer: 16
}

export interface ServerOptions {
  readonly host: string
  /** 0 for any that is free. */
  readonly port: number
  readonly credentials: Credentials
  readonly source: BlobSource
  /** The peer that a fingerprint is pinned to at this moment, if any. Asked for each request. */
  readonly pinned: (fingerprint: string) => string | undefined
  readonly log: Log
  /** Called with the number of bytes of each chunk of a blob that goes out. */
  readonly onSent?: (bytes: number) => void
  /** Of all blobs and pieces that go out. */
  readonly egress?: RateLimit
  readonly limits?: Partial<ServerLimits>
}

/**
 * Serves blobs to the other nodes: `GET` and `HEAD /blobs/<digest>`, whole or from a byte on,
 * `POST /batches/1` for many small ones, and `GET /pieces/<key>/<piece>`; and takes what they pass
 * on from their clients, under `/relay/`. Only a peer whose certificate is pinned reaches HTTP at
 * all (design, section 7): the parser is given a connection after its certificate was compared, so
 * that not one byte of it is read before.
 */
export class TransferServer {
  readonly #options: ServerOptions
  readonly #limits: ServerLimits
  readonly #gate: Gate
  readonly #intake = new Intake()
  readonly #pieces: PieceCounter
  readonly #tls: TlsServer
  readonly #http: Server
  /** Every connection from its first moment on, its handshake included. */
  readonly #connections = new Set<Socket>()
  /** Those that have not shown a pinned certificate, oldest first, by their end of the connection. */
  readonly #strangers = new Map<string, Socket>()
  /** Who is at the other end, for every connection that the parser has. */
  readonly #fingerprints = new WeakMap<TLSSocket, string>()
  #closed: Promise<void> | undefined

  /** Listens. Throws `CONFIG_INVALID` when it cannot. */
  static async open(options: ServerOptions): Promise<TransferServer> {
    const server = new TransferServer(options)
    try {
      await server.#listen()
    } catch (cause) {
      throw cannotListen('--transfer', `${options.host}:${options.port}`, cause)
    }
    return server
  }

  private constructor(options: ServerOptions) {
    this.#options = options
    this.#limits = { ...SERVER_LIMITS, ...options.limits }
    this.#gate = new Gate(this.#limits.maxResponses, this.#limits.maxResponsesPerPeer)
    const { log, onSent, egress } = options
    const { stallTimeoutMs } = this.#limits
    this.#pieces = new PieceCounter({ log, onSent, egress, stallTimeoutMs })
    this.#tls = createTlsServer({
      ...tlsOptions(options.credentials),
      handshakeTimeout: this.#limits.handshakeTimeoutMs,
      noDelay: true
    })
    this.#tls.maxConnections = this.#limits.maxConnections
    this.#tls.on('connection', connection => this.#track(connection))
    this.#tls.on('secureConnection', socket => this.#welcome(socket))
    const handle = (request: IncomingMessage, response: ServerResponse) =>
      this.#handle(request, response)
    // A body that is passed on may take hours; each of its bytes has a time-out all the same.
    this.#http = createServer({ requestTimeout: 0 }, handle)
    // Without this Node would ask for the body itself, before anyone looked at the request.
    this.#http.on('checkContinue', handle)
    this.#http.timeout = this.#limits.stallTimeoutMs
    this.#http.keepAliveTimeout = this.#limits.idleTimeoutMs
  }

  /** `host:port`, IPv6 in brackets, as bound: the host may be an unspecified address. */
  get address(): string {
    const { address, family } = this.#bound()
    return family === 'IPv6' ? `[${address}]:${this.port}` : `${address}:${this.port}`
  }

  get port(): number {
    return this.#bound().port
  }

  /** Hands on what peers pass on from their clients; without it they are told to try again. */
  relayTo(handler: RelayHandler): void {
    this.#intake.open(handler)
  }

  /** Gives pieces to peers as this desk says; without it they are told to try again. */
  servePieces(desk: PieceDesk): void {
    this.#pieces.open(desk)
  }

  /** Ends what a peer that is not heard any more was passing on. */
  cutRelays(peer: string): void {
    this.#intake.cut(peer)
  }

  /** Stops listening and cuts every connection: a peer goes on at the byte it reached elsewhere. */
  close(): Promise<void> {
    this.#closed ??= new Promise(resolve => {
      this.#tls.close(() => resolve())
      for (const connection of this.#connections) connection.destroy()
    })
    return this.#closed
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#tls.once('error', reject)
      this.#tls.listen(this.#options.port, this.#options.host, () => {
        this.#tls.off('error', reject)
        this.#tls.on('error', error =>
          this.#options.log.error({ err: error }, 'transfer server failed')
        )
        resolve()
      })
    })
  }

  #bound(): AddressInfo {
    const bound = this.#tls.address()
    if (bound === null || typeof bound === 'string') {
      throw new StarlingError('CLOSED', 'the transfer server does not listen')
    }
    return bound
  }

  /** Who has not shown a pinned certificate yet makes way for newer ones, never for peers. */
  #track(connection: Socket): void {
    const end = endOf(connection)
    this.#connections.add(connection)
    this.#strangers.set(end, connection)
    connection.once('close', () => {
      this.#connections.delete(connection)
      if (this.#strangers.get(end) === connection) this.#strangers.delete(end)
    })
    if (this.#strangers.size <= this.#limits.maxStrangers) return
    const [oldest] = this.#strangers.values()
    oldest?.destroy()
  }

  #welcome(socket: TLSSocket): void {
    socket.on('error', ignore)
    const fingerprint = peerFingerprint(socket)
    if (fingerprint === undefined || this.#options.pinned(fingerprint) === undefined) {
      this.#options.log.info(
        { remote: socket.remoteAddress, fingerprint },
        'transfer connection refused'
      )
      socket.destroy()
      return
    }
    this.#strangers.delete(endOf(socket))
    this.#fingerprints.set(socket, fingerprint)
    this.#http.emit('connection', socket)
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const fingerprint = socket instanceof TLSSocket ? this.#fingerprints.get(socket) : undefined
    const peer = fingerprint === undefined ? undefined : this.#options.pinned(fingerprint)
    if (peer === undefined) {
      socket.destroy()
      return
    }
    if (Intake.isFor(request)) {
      this.#intake.take(request, response, peer)
      return
    }
    if (PieceCounter.isFor(request)) {
      this.#pieces.take(request, response, peer)
      return
    }
    const leave = this.#gate.enter(peer)
    if (leave === undefined) {
      response.writeHead(503, { 'retry-after': '1', 'content-length': '0' }).end()
      return
    }
    response.once('close', leave)
    const { source, onSent, egress, log } = this.#options
    const send = isForBatch(request) ? sendBatch : sendBlob
    send({ request, response, source, onSent, egress }).catch(error => {
      response.destroy()
      log.warn({ err: error, peer, path: request.url }, 'blob not sent')
    })
  }
}

/** A connection that breaks is its reader's loss; the response sees it closed. */
function ignore(): void {}

function endOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}
