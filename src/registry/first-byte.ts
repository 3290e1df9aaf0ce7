import { Server, type ServerOptions } from 'node:http'
import type { Socket } from 'node:net'
import type { Tls } from './tls.ts'

/** The first byte of a TLS record with a handshake in it (RFC 8446, section 5.1). No method starts so. */
const TLS_HANDSHAKE = 0x16

/**
 * An HTTP server that speaks TLS too, on the same port: the first byte that a client sends decides.
 * containerd on localhost, which tries TLS first, CRI-O, which insists on it, and oras, which speaks
 * plain HTTP, then all work without being configured.
 *
 * It is one server that listens and takes both kinds of connection into its care, so that its
 * limits, time-outs and closing are the same for both. After the first byte nothing stands between
 * it and a plain connection.
 */
export class HttpAndTlsServer extends Server {
  readonly #undecided = new Set<Socket>()

  /** @param firstByteTimeoutMs how long a client may say nothing at all */
  constructor(options: ServerOptions, tls: Tls, firstByteTimeoutMs: number) {
    super(options)
    const serveHttp = this.listeners('connection')
    const toHttp = (socket: Socket) => {
      for (const serve of serveHttp) serve.call(this, socket)
    }
    const toTls = tls.accept(toHttp)
    this.removeAllListeners('connection')
    this.on('connection', (socket: Socket) => {
      this.#undecided.add(socket)
      socket.once('close', () => this.#undecided.delete(socket))
      socket.setTimeout(firstByteTimeoutMs)
      awaitFirstBytes(socket, bytes => {
        this.#undecided.delete(socket)
        socket.setTimeout(0)
        socket.unshift(bytes)
        if (bytes[0] === TLS_HANDSHAKE) toTls(socket)
        else toHttp(socket)
      })
    })
  }

  /** Whoever has not said anything is not waited for. */
  override close(callback?: (error?: Error) => void): this {
    for (const socket of this.#undecided) socket.destroy()
    return super.close(callback)
  }
}

/** Calls back when a client has said something; one that ends or is silent too long is cut. */
function awaitFirstBytes(socket: Socket, decide: (bytes: Buffer) => void): void {
  const destroy = () => socket.destroy()
  const read = () => {
    const bytes: Buffer | null = socket.read()
    if (bytes === null) return
    socket.off('readable', read)
    for (const event of ['error', 'end', 'timeout']) socket.off(event, destroy)
    decide(bytes)
  }
  for (const event of ['error', 'end', 'timeout']) socket.on(event, destroy)
  socket.on('readable', read)
}
