import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { type Digest, tryDigest } from '../digest.ts'
import { isCode } from '../errors.ts'
import { paced } from './paced-writable.ts'
import type { RateLimit } from './rate-limit.ts'

/** Where the bytes of complete blobs come from. */
export interface BlobSource {
  stat(digest: Digest): { readonly sizeBytes: number } | undefined
  /** Bytes from `start` up to, not including, `end`. Throws `BLOB_UNKNOWN` when it is gone. */
  read(
    digest: Digest,
    range?: { readonly start: number; readonly end: number }
  ): Promise<BlobStream>
  /** All bytes of a small blob, where that is quicker; throws as {@link read}. */
  whole?(digest: Digest): Promise<Buffer>
}

/** The bytes of a blob, which may know a quicker way out than being read. */
export interface BlobStream extends Readable {
  /**
   * Writes all that would be read, then destroys the stream; a write must be done with its bytes
   * when it says so. Throws when either side breaks off. `onBytes` is told what has left.
   */
  sendTo?(to: Writable, onBytes: (count: number) => void): Promise<void>
}

export interface SendOptions {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly source: BlobSource
  readonly onSent: ((bytes: number) => void) | undefined
  readonly egress?: RateLimit | undefined
}

/**
 * Answers one request of a peer. Resolves when the answer is out or the peer has left; throws when
 * the source fails, and then the response must be destroyed if it is not ended.
 */
export async function sendBlob(options: SendOptions): Promise<void> {
  const { request, response, source, onSent, egress } = options
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    return end(response, 405, { allow: 'GET, HEAD' })
  }
  const [, path, query] = PATH.exec(request.url ?? '') ?? []
  const digest = path === undefined ? undefined : tryDigest(path)
  const stat = digest === undefined ? undefined : source.stat(digest)
  if (digest === undefined || stat === undefined) return end(response, 404)

  const { sizeBytes } = stat
  const range = readRange(request.headers.range, sizeBytes)
  if (range === 'malformed') return end(response, 400)
  if (range === 'outside') return end(response, 416, { 'content-range': `bytes */${sizeBytes}` })
  const head = headOf(range, sizeBytes)

  if (request.method === 'HEAD' || sizeBytes === 0) {
    response.writeHead(head.status, head.headers).end()
    return
  }
  const body = await openBody(source, digest, range ?? { start: 0, end: sizeBytes })
  if (body === undefined) return end(response, 404)
  response.writeHead(head.status, head.headers)
  try {
    const urgency = query === AWAITED ? 'awaited' : 'background'
    await pour(body, paced(response, egress, urgency), onSent)
  } catch (error) {
    // The peer may leave at any byte; only a failure of the source is worth a word.
    if (!peerLeft(request)) throw error
  }
}

/** Writes all of the stream to a response and ends it; throws when either side breaks off. */
export async function pour(
  body: BlobStream,
  response: Writable,
  onSent: ((bytes: number) => void) | undefined
): Promise<void> {
  if (body.sendTo !== undefined) {
    await body.sendTo(response, onSent ?? (() => {}))
    response.end()
    return
  }
  if (onSent !== undefined) body.on('data', (chunk: Buffer) => onSent(chunk.length))
  await pipeline(body, response)
}

interface Range {
  readonly start: number
  readonly end: number
}

/** Put after the path of a blob that a client waits for. */
export const AWAITED = '?urgency=awaited'

const PATH = /^\/blobs\/([^/?]{1,200})(\?.*)?$/

/** RFC 9110, section 14.1.2, without suffixes and lists: our own fetcher sends neither. */
const RANGE = /^bytes=(\d{1,15})-(\d{1,15})?$/

function readRange(
  header: string | undefined,
  sizeBytes: number
): Range | 'malformed' | 'outside' | undefined {
  if (header === undefined) return undefined
  const match = RANGE.exec(header)
  if (match === null) return 'malformed'
  const start = Number(match[1])
  const end = match[2] === undefined ? sizeBytes : Math.min(Number(match[2]) + 1, sizeBytes)
  if (match[2] !== undefined && Number(match[2]) < start) return 'malformed'
  return start < sizeBytes ? { start, end } : 'outside'
}

function headOf(range: Range | undefined, sizeBytes: number) {
  const headers: Record<string, string | number> = {
    'content-type': 'application/octet-stream',
    'content-length': sizeBytes
  }
  if (range === undefined) return { status: 200, headers }
  headers['content-length'] = range.end - range.start
  headers['content-range'] = `bytes ${range.start}-${range.end - 1}/${sizeBytes}`
  return { status: 206, headers }
}

async function openBody(
  source: BlobSource,
  digest: Digest,
  range: Range
): Promise<BlobStream | undefined> {
  try {
    return await source.read(digest, range)
  } catch (error) {
    if (isCode(error, 'BLOB_UNKNOWN')) return undefined
    throw error
  }
}

/** Answers without a body. */
export function end(
  response: ServerResponse,
  status: number,
  headers: Record<string, string> = {}
): void {
  response.writeHead(status, { ...headers, 'content-length': '0' }).end()
}

export function peerLeft(request: IncomingMessage): boolean {
  return request.socket.destroyed
}
