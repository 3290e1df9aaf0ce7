import { createHash } from 'node:crypto'
import { once } from 'node:events'
import * as http from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Digest, digestOf, finishDigest, startDigest } from '../../src/digest.ts'

/** What a blob is pushed from: the bytes from an offset on, made anew on each call. */
export interface BlobContent {
  readonly sizeBytes: number
  chunks(startBytes: number): Iterable<Uint8Array>
}

/** A push session of a registry, as its client sees it. */
export interface PushSession {
  /** The path, with its query, of the next request. */
  readonly path: string
  /** How many bytes the registry has. */
  readonly offsetBytes: number
}

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

const CHUNK_BYTES = 1024 * 1024
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
/** Each waits `--ack-wait`: together longer than 5 GiB take to copy on a slow disk. */
const MAX_TRIES = 10
const EMPTY_CONFIG = Buffer.from('{}')

/**
 * A registry's client that does only what the tests need and no real client offers: blobs made
 * while they are sent, and pushes that are cut off and go on.
 */
export class RegistryClient {
  readonly #host: string
  readonly #port: number
  readonly #agent = new http.Agent({ keepAlive: true })

  constructor(address: string) {
    const colon = address.lastIndexOf(':')
    this.#host = address.slice(0, colon)
    this.#port = Number(address.slice(colon + 1))
  }

  /** Opens a push session. */
  async openPush(repository: string): Promise<PushSession> {
    const answer = await this.#send('POST', `/v2/${repository}/blobs/uploads/`, [202])
    return sessionOf(answer)
  }

  /** Asks how far a push session is; `undefined` when the registry does not know it. */
  async pushState(session: PushSession): Promise<PushSession | undefined> {
    const answer = await this.#send('GET', session.path, [204, 404])
    return answer.status === 404 ? undefined : sessionOf(answer)
  }

  /** Streams the rest of a blob into a session, made as fast as the registry takes it. */
  async stream(session: PushSession, content: BlobContent): Promise<PushSession> {
    const { offsetBytes } = session
    const headers = {
      'content-type': 'application/octet-stream',
      'content-range': `${offsetBytes}-${content.sizeBytes - 1}`,
      'content-length': content.sizeBytes - offsetBytes
    }
    const body = Readable.from(content.chunks(offsetBytes), { objectMode: false })
    return sessionOf(await this.#send('PATCH', session.path, [202], headers, body))
  }

  async closePush(session: PushSession, digest: Digest): Promise<void> {
    const separator = session.path.includes('?') ? '&' : '?'
    await this.#send('PUT', `${session.path}${separator}digest=${digest}`, [201])
  }

  /** Pushes a whole blob and gives its digest, found out first when it is not given. */
  async pushBlob(
    repository: string,
    content: BlobContent,
    digest: Digest = digestOfContent(content)
  ): Promise<Digest> {
    const session = await this.stream(await this.openPush(repository), content)
    await this.closePush(session, digest)
    return digest
  }

  /**
   * Makes a blob that is there already exist in the cluster: as the one layer of a tagged artifact.
   * Told to be strict, it takes neither "not yet" nor a `Warning` for an answer.
   */
  async tagBlob(
    repository: string,
    tag: string,
    layer: { readonly digest: Digest; readonly sizeBytes: number },
    { strict = false } = {}
  ): Promise<Digest> {
    const config = await this.pushBlob(repository, contentOf(EMPTY_CONFIG))
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: OCI_MANIFEST,
        artifactType: 'application/vnd.starling.test',
        config: {
          mediaType: 'application/vnd.oci.empty.v1+json',
          digest: config,
          size: EMPTY_CONFIG.length
        },
        layers: [
          { mediaType: 'application/octet-stream', digest: layer.digest, size: layer.sizeBytes }
        ]
      })
    )
    const headers = { 'content-type': OCI_MANIFEST, 'content-length': manifest.length }
    const path = `/v2/${repository}/manifests/${tag}`
    // 503 while the copies that were asked for are still being made: the retry waits on.
    const maxTries = strict ? 1 : MAX_TRIES
    for (let status = 503, tries = 0; status !== 201 && tries < maxTries; tries++) {
      const accepted = tries + 1 < maxTries ? [201, 503] : [201]
      const answer = await this.#send('PUT', path, accepted, headers, Readable.from([manifest]))
      status = answer.status
      const { warning } = answer.headers
      if (strict && warning !== undefined) throw new Error(`answered with a warning: ${warning}`)
    }
    return digestOf(manifest)
  }

  /** Reads a blob to its end and gives the digest of what came; `undefined` when it is unknown. */
  async pulledDigest(repository: string, digest: Digest): Promise<Digest | undefined> {
    const response = await this.#request('GET', `/v2/${repository}/blobs/${digest}`)
    if (response.statusCode !== 200) {
      response.resume()
      return undefined
    }
    const hash = createHash('sha256')
    await pipeline(response, hash)
    return finishDigest('sha256', hash)
  }

  close(): void {
    this.#agent.destroy()
  }

  async #send(
    method: string,
    path: string,
    expected: readonly number[],
    headers: http.OutgoingHttpHeaders = { 'content-length': 0 },
    body?: Readable
  ): Promise<Answer> {
    const response = await this.#request(method, path, headers, body)
    const answer = {
      status: response.statusCode ?? 0,
      headers: response.headers,
      body: Buffer.concat(await response.toArray())
    }
    if (expected.includes(answer.status)) return answer
    throw new Error(`${method} ${path} answered ${answer.status}: ${answer.body}`)
  }

  async #request(
    method: string,
    path: string,
    headers: http.OutgoingHttpHeaders = {},
    body?: Readable
  ): Promise<http.IncomingMessage> {
    const request = http.request({
      ...{ host: this.#host, port: this.#port, agent: this.#agent },
      ...{ method, path, headers }
    })
    const answered = once(request, 'response')
    const sent = body === undefined ? request.end() : pipeline(body, request)
    // A registry may refuse before the body is sent; the answer is what counts then.
    const [response] = await Promise.all([answered, Promise.resolve(sent).catch(() => {})]).then(
      ([[response]]) => [response as http.IncomingMessage]
    )
    if (response === undefined) throw new Error(`${method} ${path} got no answer`)
    return response
  }
}

/** A blob of any size that takes no memory: every MiB of it begins with its own number. */
export function largeContent(sizeBytes: number, seed: number): BlobContent {
  return {
    sizeBytes,
    *chunks(startBytes) {
      for (let offset = startBytes; offset < sizeBytes; ) {
        const number = Math.floor(offset / CHUNK_BYTES)
        const chunk = Buffer.alloc(CHUNK_BYTES, seed)
        chunk.writeUInt32BE(number)
        const from = offset % CHUNK_BYTES
        const length = Math.min(CHUNK_BYTES - from, sizeBytes - offset)
        yield chunk.subarray(from, from + length)
        offset += length
      }
    }
  }
}

export function digestOfContent(content: BlobContent): Digest {
  const hash = startDigest('sha256')
  for (const chunk of content.chunks(0)) hash.update(chunk)
  return finishDigest('sha256', hash)
}

function contentOf(bytes: Buffer): BlobContent {
  return { sizeBytes: bytes.length, chunks: startBytes => [bytes.subarray(startBytes)] }
}

function sessionOf({ headers }: Answer): PushSession {
  const location = new URL(headers.location ?? '', 'http://registry')
  // `Range: 0-N` names the last byte held; `0-0` stands for one byte or, in older registries, none.
  const last = /^0-(\d+)$/.exec(headers.range ?? '')?.[1]
  const offsetBytes = last === undefined || last === '0' ? 0 : Number(last) + 1
  return { path: location.pathname + location.search, offsetBytes }
}
