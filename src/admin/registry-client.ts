import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { withDeadline } from '../deadline.ts'
import { type Digest, parseDigest } from '../digest.ts'
import { ERROR_CODES, type ErrorCode, StarlingError } from '../errors.ts'
import { MANIFEST_TYPES } from '../manifest.ts'
import { controlSocket } from './control.ts'
import { locked, unreachable } from './refusal.ts'
import { warningsIn } from './warning-header.ts'

/** How long a push of a manifest is tried again while other nodes are still copying. */
const PUSH_PATIENCE_MS = 10 * 60_000
const DEFAULT_RETRY_MS = 1_000

export interface FoundManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

/**
 * Pushes to and pulls from the registry of a node. Throws `UNAVAILABLE` when no node answers,
 * `DENIED`, and what the registry itself refuses something with.
 */
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

  async hasBlob(repository: string, digest: Digest, signal: AbortSignal): Promise<boolean> {
    const response = await this.#send('HEAD', `/v2/${repository}/blobs/${digest}`, { signal })
    response.resume()
    return response.statusCode === 200
  }

  /** Pushes a blob in one piece. */
  async pushBlob(
    repository: string,
    blob: { readonly digest: Digest; readonly sizeBytes: number; readonly body: Readable },
    signal: AbortSignal
  ): Promise<void> {
    const { digest, sizeBytes, body } = blob
    const begun = await this.#send('POST', `/v2/${repository}/blobs/uploads/`, { signal })
    await expect(begun, 202)
    const location = new URL(begun.headers.location ?? '', this.#base)
    location.searchParams.set('digest', digest)
    const headers = {
      'content-type': 'application/octet-stream',
      'content-length': String(sizeBytes)
    }
    const path = location.pathname + location.search
    await expect(await this.#send('PUT', path, { headers, body, signal }), 201)
  }

  /**
   * Pushes a manifest; while other nodes are still copying, again and again.
   *
   * @returns what the registry warns of
   */
  async pushManifest(
    repository: string,
    reference: string,
    { mediaType, bytes }: Omit<FoundManifest, 'digest'>,
    signal: AbortSignal
  ): Promise<readonly string[]> {
    const patience = withDeadline(PUSH_PATIENCE_MS, signal)
    const headers = { 'content-type': mediaType, 'content-length': String(bytes.length) }
    const path = `/v2/${repository}/manifests/${reference}`
    for (;;) {
      const response = await this.#send('PUT', path, { headers, body: bytes, signal })
      if (response.statusCode !== 503 || patience.aborted) {
        await expect(response, 201)
        return warningsIn(response.headers.warning)
      }
      response.resume()
      const retryMs = Number(response.headers['retry-after']) * 1_000 || DEFAULT_RETRY_MS
      await delay(retryMs, undefined, { signal: patience }).catch(() => undefined)
      signal.throwIfAborted()
    }
  }

  /** `undefined` when there is none. */
  async manifest(
    repository: string,
    reference: string,
    signal: AbortSignal
  ): Promise<FoundManifest | undefined> {
    const headers = { accept: MANIFEST_TYPES.join(', ') }
    const path = `/v2/${repository}/manifests/${reference}`
    const response = await this.#send('GET', path, { headers, signal })
    if (response.statusCode === 404) {
      response.resume()
      return undefined
    }
    const bytes = await expect(response, 200)
    const digest = parseDigest(String(response.headers['docker-content-digest']))
    return { digest, mediaType: String(response.headers['content-type']), bytes }
  }

  /** The bytes of a blob, which are for the caller to verify. */
  async blob(repository: string, digest: Digest, signal: AbortSignal): Promise<Readable> {
    const response = await this.#send('GET', `/v2/${repository}/blobs/${digest}`, { signal })
    if (response.statusCode !== 200) await expect(response, 200)
    return response
  }

  async #send(
    method: string,
    path: string,
    { headers = {}, body, signal }: RequestParts
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
      if (response.statusCode !== 401) return resolve(response)
      response.resume()
      reject(locked(where, 401, url))
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

interface RequestParts {
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Readable | Buffer
  readonly signal: AbortSignal
}

/** The body of an answer with this status; throws what any other says. */
async function expect(response: IncomingMessage, status: number): Promise<Buffer> {
  const body = await buffer(response)
  if (response.statusCode === status) return body
  const { code, message } = errorIn(body)
  const isKnown = code !== undefined && Object.hasOwn(ERROR_CODES, code)
  // That a node answers, and not now, is another thing than that there is none.
  const own = isKnown && code !== 'UNAVAILABLE' ? (code as ErrorCode) : 'PEER_FAILED'
  throw new StarlingError(own, message ?? `the registry answered ${response.statusCode}`)
}

function errorIn(body: Buffer): { readonly code?: string; readonly message?: string } {
  try {
    return (
      (JSON.parse(body.toString()) as { errors: { code: string; message: string }[] }).errors[0] ??
      {}
    )
  } catch {
    return {}
  }
}
