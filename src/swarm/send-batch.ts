import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import {
  BATCH_PATH,
  decodeRequest,
  encodeHead,
  MAX_BATCH_BYTES,
  MAX_REQUEST_BYTES
} from './batch.ts'
import { paced } from './paced-writable.ts'
import { SMALL_BLOB_BYTES } from './piece-size.ts'
import { type BlobSource, end, peerLeft, pour, type SendOptions } from './send-blob.ts'

/** Files read at once, and the bytes from which on no further one is: what an answer has in memory. */
const GROUP_BLOBS = 16
const GROUP_BYTES = 256 * 1024

/** Whether a request is for a batch of small blobs. */
export function isForBatch({ url }: IncomingMessage): boolean {
  return url === BATCH_PATH
}

/**
 * Answers a request for many small blobs. Resolves when the answer is out or the peer has left;
 * throws when the source fails, and then the response must be destroyed.
 */
export async function sendBatch(options: SendOptions): Promise<void> {
  const { request, response, source, onSent, egress } = options
  const body = request.method === 'POST' ? await readBody(request) : undefined
  const digests = body && decodeRequest(body)
  if (digests === undefined) {
    return end(response, 400, { connection: 'close' })
  }
  response.writeHead(200, { 'content-type': 'application/octet-stream' })
  const entries = Readable.from(entriesOf(source, digests), { objectMode: false })
  try {
    await pour(entries, paced(response, egress, 'background'), onSent)
  } catch (error) {
    if (!peerLeft(request)) throw error
  }
}

/** `undefined` when it is too long. */
async function readBody(request: IncomingMessage): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of request) {
    bytes += chunk.length
    if (bytes > MAX_REQUEST_BYTES) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

/** At least one blob is answered for, so that who asks again comes to an end. */
async function* entriesOf(
  source: BlobSource,
  digests: readonly Digest[]
): AsyncGenerator<Buffer, void> {
  let sentBytes = 0
  for (let at = 0; at < digests.length && sentBytes < MAX_BATCH_BYTES; ) {
    const group = groupAt(source, digests, at)
    const entries = await Promise.all(group.map(digest => entryOf(source, digest)))
    const chunk = Buffer.concat(entries.flat())
    yield chunk
    sentBytes += chunk.length
    at += group.length
  }
}

function groupAt(source: BlobSource, digests: readonly Digest[], start: number): Digest[] {
  const group: Digest[] = []
  let bytes = 0
  for (const digest of digests.slice(start, start + GROUP_BLOBS)) {
    if (bytes >= GROUP_BYTES) break
    const sizeBytes = source.stat(digest)?.sizeBytes ?? 0
    if (sizeBytes <= SMALL_BLOB_BYTES) bytes += sizeBytes
    group.push(digest)
  }
  return group
}

async function entryOf(source: BlobSource, digest: Digest): Promise<Buffer[]> {
  const stat = source.stat(digest)
  if (stat === undefined) return [encodeHead('absent')]
  if (stat.sizeBytes > SMALL_BLOB_BYTES) return [encodeHead('alone')]
  try {
    const bytes = await (source.whole?.(digest) ?? buffer(await source.read(digest)))
    return [encodeHead(bytes.length), bytes]
  } catch (error) {
    if (isCode(error, 'BLOB_UNKNOWN')) return [encodeHead('absent')]
    throw error
  }
}
