import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { StarlingError } from '../errors.ts'
import { controlSocket } from './control.ts'
import { isOfRegistry, locked, unreachable, wrongPort } from './refusal.ts'
import { RepositoryClient } from './repository-client.ts'

/** The registry of a node. */
export class RegistryClient {
  readonly #base: URL
  readonly #socketPath: string | undefined

  /** A node on this machine, through the socket in its data directory, where its user may do all. */
  static ofData(dataDir: string): RegistryClient {
    return new RegistryClient(new URL('http://node'), controlSocket(dataDir))
  }

  /** The registry port of a node; a user and a password in the URL are sent as HTTP Basic. */
  static ofUrl(base: URL): RegistryClient {
    return new RegistryClient(base, undefined)
  }

  private constructor(base: URL, socketPath: string | undefined) {
    this.#base = base
    this.#socketPath = socketPath
  }

  /** One of its repositories, which need not exist, for as long as the signal lets it. */
  repository(name: string, signal: AbortSignal): RepositoryClient {
    const send: Send = (method, path, parts) => this.#send(method, path, { ...parts, signal })
    return new RepositoryClient(name, send, signal)
  }

  async #send(
    method: string,
    path: string,
    { headers = {}, body, signal }: RequestParts & { readonly signal: AbortSignal }
  ): Promise<IncomingMessage> {
    const where = this.#socketPath ?? this.#base.origin
    const url = new URL(path, this.#base)
    url.username = this.#base.username
    url.password = this.#base.password
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const request = url.protocol === 'https:' ? httpsRequest : httpRequest
    const through = this.#socketPath !== undefined && { socketPath: this.#socketPath }
    const sent = request(url, { ...through, method, headers, signal, agent: false })
    sent.once('error', reject).once('response', response => {
      const isElsewhere = response.statusCode === 404 && !isOfRegistry(response)
      if (response.statusCode !== 401 && !isElsewhere) return resolve(response)
      response.resume()
      reject(isElsewhere ? wrongPort(where, 'registry') : locked(where, 401, url))
    })
    // An answer may come before all is sent; then it is what counts.
    if (body === undefined || Buffer.isBuffer(body)) sent.end(body)
    else pipeline(body, sent).catch(reject)
    return promise.catch((cause: unknown) => {
      signal.throwIfAborted()
      if (cause instanceof StarlingError) throw cause
      throw unreachable(where, cause)
    })
  }
}

/** What goes with a request. */
export interface RequestParts {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Readable | Buffer
}

/** Sends a request and gives the head of the answer; throws `UNAVAILABLE` and `DENIED`. */
export type Send = (method: string, path: string, parts?: RequestParts) => Promise<IncomingMessage>
