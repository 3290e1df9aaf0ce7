import { type IncomingMessage, request } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Digest, parseDigest, startDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { MadeBlob, MadeImage } from './image.ts'

/** So much of an error's text is passed on. */
const MAX_QUOTED_LENGTH = 500

/** A reference to an image on one registry, as the small client below needs it. */
export interface ImageAddress {
  /** `host:port` of the registry. */
  readonly registry: string
  readonly repository: string
  readonly tag: string
}

export interface Progress {
  readonly onBytes?: (bytes: number) => void
  readonly signal?: AbortSignal
}

/** Pushes an image: blobs that the registry lacks, then the manifest. */
export async function pushImage(
  to: ImageAddress,
  image: MadeImage,
  progress: Progress = {}
): Promise<void> {
  for (const blob of image.blobs) await pushBlob(to, blob, progress)
  const url = `http://${to.registry}/v2/${to.repository}/manifests/${to.tag}`
  const body = Readable.from([image.manifest], { objectMode: false })
  const headers = { 'content-type': image.mediaType, 'content-length': image.manifest.length }
  await drained(await send('PUT', url, { headers, body, ...progress }), 201)
}

/** Pushes one blob in a single streamed PUT, unless the repository has it. */
export async function pushBlob(
  to: Pick<ImageAddress, 'registry' | 'repository'>,
  blob: MadeBlob,
  progress: Progress = {}
): Promise<void> {
  const base = `http://${to.registry}/v2/${to.repository}/blobs`
  const known = await send('HEAD', `${base}/${blob.digest}`, progress)
  known.resume()
  if (known.statusCode === 200) return
  const opened = await drained(await send('POST', `${base}/uploads/`, progress), 202)
  const location = new URL(opened.headers.location ?? '', `http://${to.registry}`)
  location.searchParams.set('digest', blob.digest)
  const counted = Readable.from(counting(blob.bytes(), progress.onBytes), { objectMode: false })
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': blob.sizeBytes
  }
  await drained(await send('PUT', location.href, { headers, body: counted, ...progress }), 201)
}

/**
 * Pulls an image by tag and checks every digest on the way; the bytes are dropped.
 *
 * @returns how many bytes were pulled and verified
 */
export async function pullImage(from: ImageAddress, progress: Progress = {}): Promise<number> {
  const base = `http://${from.registry}/v2/${from.repository}`
  const response = await send('GET', `${base}/manifests/${from.tag}`, progress)
  const manifest = await collected(response)
  const { config, layers } = JSON.parse(manifest.toString()) as {
    config: { digest: string }
    layers: { digest: string }[]
  }
  let total = manifest.length
  for (const { digest } of [config, ...layers]) {
    total += await pullBlob(from, parseDigest(digest), progress)
  }
  return total
}

/** Pulls one blob and checks its digest; throws `DIGEST_INVALID` when the bytes are others. */
async function pullBlob(
  from: Pick<ImageAddress, 'registry' | 'repository'>,
  digest: Digest,
  progress: Progress
): Promise<number> {
  const url = `http://${from.registry}/v2/${from.repository}/blobs/${digest}`
  const response = await send('GET', url, progress)
  if (response.statusCode !== 200) throw await unexpected(response)
  const hash = startDigest('sha256')
  let bytes = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    hash.update(chunk)
    bytes += chunk.length
    progress.onBytes?.(chunk.length)
  }
  if (`sha256:${hash.digest('hex')}` !== digest) {
    throw new StarlingError('DIGEST_INVALID', `what ${from.registry} gave is not ${digest}`)
  }
  return bytes
}

function* counting(pieces: Iterable<Uint8Array>, onBytes: ((bytes: number) => void) | undefined) {
  for (const piece of pieces) {
    yield piece
    onBytes?.(piece.length)
  }
}

interface Sent {
  readonly headers?: Record<string, string | number>
  readonly body?: Readable
  readonly signal?: AbortSignal
}

async function send(method: string, url: string, options: Sent): Promise<IncomingMessage> {
  const { headers = {}, body, signal } = options
  const sending = request(url, { method, headers, ...(signal && { signal }) })
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    sending.once('response', resolve)
    sending.once('error', reject)
  })
  if (body === undefined) sending.end()
  else await Promise.race([pipeline(body, sending), answered])
  return answered
}

async function drained(response: IncomingMessage, status: number): Promise<IncomingMessage> {
  if (response.statusCode !== status) throw await unexpected(response)
  response.resume()
  return response
}

async function collected(response: IncomingMessage): Promise<Buffer> {
  if (response.statusCode !== 200) throw await unexpected(response)
  const chunks: Buffer[] = []
  for await (const chunk of response as AsyncIterable<Buffer>) chunks.push(chunk)
  return Buffer.concat(chunks)
}

async function unexpected(response: IncomingMessage): Promise<StarlingError> {
  let text = ''
  for await (const chunk of response as AsyncIterable<Buffer>) text += chunk.toString()
  const answer = `${response.statusCode}: ${text.slice(0, MAX_QUOTED_LENGTH)}`
  return new StarlingError('UNKNOWN', `the registry answered ${answer}`)
}
