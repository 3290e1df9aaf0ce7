import { constants, X509Certificate } from 'node:crypto'
import type { Socket } from 'node:net'
import {
  createSecureContext,
  createServer,
  type Server,
  type TLSSocket,
  type TlsOptions
} from 'node:tls'
import { isCode, StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { readSmallFile, watchFiles } from './auth/file-watch.ts'

export interface TlsFiles {
  /** The certificate and those between it and the root, in PEM. */
  readonly cert: string
  readonly key: string
  /** Authorities that vouch for client certificates; without it none are asked for. */
  readonly clientCa?: string | undefined
}

/** Longer than a handshake over a bad link; closing waits no longer than that for one under way. */
const HANDSHAKE_TIMEOUT_MS = 10_000

/** TLS for a port that speaks HTTP too: it never listens, and is handed connections. */
export class Tls {
  readonly #files: TlsFiles
  readonly #log: Log
  #options: TlsOptions
  readonly #servers: Server[] = []
  readonly #stopWatching: () => void

  /** Throws `CONFIG_INVALID` when a file cannot be read or the key is not that of the certificate. */
  static async open(files: TlsFiles, log: Log): Promise<Tls> {
    return new Tls(files, await readOptions(files), log)
  }

  private constructor(files: TlsFiles, options: TlsOptions, log: Log) {
    this.#files = files
    this.#log = log
    this.#options = options
    const { cert, key, clientCa } = files
    const all = [cert, key, ...(clientCa === undefined ? [] : [clientCa])]
    this.#stopWatching = watchFiles(all, () => void this.reload())
  }

  /** Whether client certificates are asked for. */
  get asksCertificates(): boolean {
    return this.#files.clientCa !== undefined
  }

  /**
   * Takes connections on which a client has begun to speak TLS, and gives those that came to an
   * understanding. A client certificate need not be there, but one that is must be vouched for.
   */
  accept(onSecure: (socket: TLSSocket) => void): (socket: Socket) => void {
    const server = createServer({
      ...this.#options,
      ALPNProtocols: ['http/1.1'],
      handshakeTimeout: HANDSHAKE_TIMEOUT_MS,
      requestCert: this.asksCertificates,
      rejectUnauthorized: false
    })
    server.on('secureConnection', socket => {
      if (this.asksCertificates && !socket.authorized && hasCertificate(socket)) {
        this.#log.warn(
          { from: socket.remoteAddress, error: socket.authorizationError },
          'client certificate refused'
        )
        socket.destroy()
      } else {
        onSecure(socket)
      }
    })
    server.on('tlsClientError', (error, socket) => {
      this.#log.debug({ from: socket.remoteAddress, error: error.message }, 'no TLS handshake')
      socket.destroy()
    })
    this.#servers.push(server)
    return socket => {
      // As with any HTTPS server. Else a client that goes in the middle of a handshake would stay.
      socket.allowHalfOpen = false
      server.emit('connection', socket)
    }
  }

  /**
   * Reads the files again, for the connections to come. While they do not fit each other, as when
   * one is replaced before the other, that is logged, and what was in use stays.
   */
  async reload(): Promise<void> {
    try {
      this.#options = await readOptions(this.#files)
      for (const server of this.#servers) server.setSecureContext(this.#options)
      this.#log.info(describe(this.#options), 'certificate reloaded')
    } catch (error) {
      this.#log.error({ err: error }, 'certificate not reloaded')
    }
  }

  close(): void {
    this.#stopWatching()
  }
}

async function readOptions({ cert, key, clientCa }: TlsFiles): Promise<TlsOptions> {
  const options: TlsOptions = {
    cert: await readSmallFile(cert, '--tls-cert'),
    key: await readSmallFile(key, '--tls-key'),
    minVersion: 'TLSv1.2',
    // Whoever resumes a session would bring along what an authority of former times vouched for.
    ...(clientCa !== undefined && {
      ca: await readSmallFile(clientCa, '--tls-client-ca'),
      secureOptions: constants.SSL_OP_NO_TICKET
    })
  }
  try {
    describe(options)
    if (options.ca !== undefined) new X509Certificate(String(options.ca))
    createSecureContext(options)
    return options
  } catch (cause) {
    if (isCode(cause, 'CONFIG_INVALID')) throw cause
    const reason = cause instanceof Error ? cause.message : String(cause)
    const message = `--tls-cert, --tls-key${clientCa ? ', --tls-client-ca' : ''}: cannot use ${[cert, key, clientCa].filter(Boolean).join(', ')}: ${reason}`
    throw new StarlingError('CONFIG_INVALID', message, { cause })
  }
}

function describe({ cert }: TlsOptions): { readonly subject: string; readonly until: string } {
  const { subject, validTo } = new X509Certificate(String(cert))
  return { subject, until: validTo }
}

function hasCertificate(socket: TLSSocket): boolean {
  return Object.keys(socket.getPeerCertificate()).length > 0
}
