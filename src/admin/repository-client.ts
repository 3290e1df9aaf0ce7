import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { withDeadline } from '../deadline.ts'
import { type Digest, parseDigest } from '../digest.ts'
import { ERROR_CODES, type ErrorCode, StarlingError } from '../errors.ts'
import { MANIFEST_TYPES } from '../manifest.ts'
import type { Send } from './registry-client.ts'
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
 * Pushes to and pulls from one repository of a node. Throws `UNAVAILABLE` when no node answers,
 * `DENIED`, and what the registry itself refuses something with.
 */
export class RepositoryClient {
  readonly name: string
  readonly #send: Send
  readonly #signal: AbortSignal

  constructor(name: string, send: Send, signal: AbortSignal) {
    this.name = name
    this.#send = send
    this.#signal = signal
  }

  async hasBlob(digest: Digest): Promise<boolean> {
    const response = await this.#send('HEAD', this.#path(`blobs/${digest}`))
    response.resume()
    return response.statusCode === 200
  }

  /**
   * Pushes a blob in one piece, unless another repository that the user may read has it already.
   *
   * @returns how many bytes went over
   */
  async pushBlob(digest: Digest, sizeBytes: number, open: () => Readable): Promise<number> {
    const location = await this.#mountOrBegin(digest)
    if (location === undefined) return 0
    await this.#finish(location, digest, { sizeBytes, body: open() })
    return sizeBytes
  }

  /** Takes a blob over from another repository; whether one had it that the user may read. */
  async mountBlob(digest: Digest): Promise<boolean> {
    const location = await this.#mountOrBegin(digest)
    if (location === undefined) return true
    const cancelled = await this.#send('DELETE', location.pathname + location.search)
    cancelled.resume()
    return false
  }

  /** Pushes a blob whose digest is known only when its last byte has gone over. */
  async pushUnnamed(sizeBytes: number, body: Readable, named: () => Digest): Promise<void> {
    const begun = await this.#send('POST', this.#path('blobs/uploads/'))
    const location = await this.#location(begun)
    const headers = { ...OCTETS, 'content-length': String(sizeBytes) }
    const sent = await this.#send('PATCH', location.pathname + location.search, { headers, body })
    await this.#finish(await this.#location(sent), named())
  }

  /**
   * Pushes a manifest; while other nodes are still copying, again and again.
   *
   * @returns what the registry warns of
   */
  async pushManifest(
    reference: string,
    { mediaType, bytes }: Omit<FoundManifest, 'digest'>
  ): Promise<readonly string[]> {
    const patience = withDeadline(PUSH_PATIENCE_MS, this.#signal)
    const headers = { 'content-type': mediaType, 'content-length': String(bytes.length) }
    for (;;) {
      const path = this.#path(`manifests/${reference}`)
      const response = await this.#send('PUT', path, { headers, body: bytes })
      if (response.statusCode !== 503 || patience.aborted) {
        await expect(response, 201)
        return warningsIn(response.headers.warning)
      }
      response.resume()
      const retryMs = Number(response.headers['retry-after']) * 1_000 || DEFAULT_RETRY_MS
      await delay(retryMs, undefined, { signal: patience }).catch(() => undefined)
      this.#signal.throwIfAborted()
    }
  }

  /** `undefined` when there is none. */
  async manifest(reference: string): Promise<FoundManifest | undefined> {
    const headers = { accept: MANIFEST_TYPES.join(', ') }
    const response = await this.#send('GET', this.#path(`manifests/${reference}`), { headers })
    if (response.statusCode === 404) {
      response.resume()
      return undefined
    }
    const bytes = await expect(response, 200)
    const digest = parseDigest(String(response.headers['docker-content-digest']))
    return { digest, mediaType: String(response.headers['content-type']), bytes }
  }

  /** The bytes of a blob, which are for the caller to verify. */
  async blob(digest: Digest): Promise<Readable> {
    const response = await this.#send('GET', this.#path(`blobs/${digest}`))
    if (response.statusCode !== 200) await expect(response, 200)
    return response
  }

  /** Where to send a blob that could not be mounted. */
  async #mountOrBegin(digest: Digest): Promise<URL | undefined> {
    const begun = await this.#send('POST', this.#path(`blobs/uploads/?mount=${digest}`))
    if (begun.statusCode !== 201) return this.#location(begun)
    begun.resume()
    return undefined
  }

  async #finish(
    location: URL,
    digest: Digest,
    rest?: { readonly sizeBytes: number; readonly body: Readable }
  ): Promise<void> {
    location.searchParams.set('digest', digest)
    const headers = { ...OCTETS, 'content-length': String(rest?.sizeBytes ?? 0) }
    const path = location.pathname + location.search
    const parts = { headers, ...(rest && { body: rest.body }) }
    await expect(await this.#send('PUT', path, parts), 201)
  }

  /** Where an upload goes on: relative, or at the host that was asked. */
  async #location(accepted: IncomingMessage): Promise<URL> {
    await expect(accepted, 202)
    return new URL(accepted.headers.location ?? '', 'http://node')
  }

  #path(rest: string): string {
    return `/v2/${this.name}/${rest}`
  }
}

const OCTETS = { 'content-type': 'application/octet-stream' } as const

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
