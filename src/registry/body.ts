import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { finished } from 'node:stream'
import { StarlingError } from '../errors.ts'
import type { BlobStream } from './content.ts'
import { StatusError } from './errors.ts'

/** Bodies, as they come in and go out: no byte faster than the other side takes it. */

/**
 * The body of a request, chunk by chunk, read no faster than the consumer asks. When the consumer
 * stops before the end, the connection stays, so that the client can still be told why.
 *
 * @throws the connection's error when the client breaks off
 */
export async function* receive(
  request: IncomingMessage,
  response: ServerResponse,
  onBytes: (count: number) => void
): AsyncGenerator<Buffer, void, undefined> {
  if (awaitsContinue(request)) {
    continued.add(request)
    response.writeContinue()
  }
  for await (const chunk of request.iterator({ destroyOnReturn: false })) {
    onBytes(chunk.length)
    yield chunk
  }
}

/**
 * A whole small body.
 *
 * @param declaredBytes what {@link declaredLength} says
 * @throws `SIZE_INVALID` with status 413 when it is longer than the limit, before it is read if it
 *   says so itself
 */
export async function collect(
  body: AsyncIterable<Buffer>,
  declaredBytes: number,
  limitBytes: number
): Promise<Buffer> {
  if (declaredBytes > limitBytes) throw tooLarge(limitBytes)
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of body) {
    sizeBytes += chunk.length
    if (sizeBytes > limitBytes) throw tooLarge(limitBytes)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, sizeBytes)
}

/**
 * Sends a stream whose length was announced, and ends the response. When the stream fails or gives
 * another number of bytes, the connection is cut, for that is all that can still tell the client.
 * When the client goes, the stream is destroyed.
 *
 * @returns the error that cut it short, `undefined` when all was sent or the client went by itself
 */
export async function send(
  response: ServerResponse,
  source: BlobStream,
  sizeBytes: number,
  onBytes: (count: number) => void
): Promise<Error | undefined> {
  const stopWatching = finished(response, () => source.destroy())
  let sentBytes = 0
  const count = (bytes: number) => {
    sentBytes += bytes
    onBytes(bytes)
  }
  try {
    if (source.sendTo === undefined) await copy(source, response, sizeBytes, count)
    else await source.sendTo(response, count)
    if (sentBytes !== sizeBytes) throw wrongLength(sizeBytes, sentBytes)
    stopWatching()
    response.end()
    return undefined
  } catch (error) {
    const clientGone = response.destroyed
    response.destroy()
    return clientGone || !(error instanceof Error) ? undefined : error
  }
}

async function copy(
  source: AsyncIterable<Buffer>,
  response: ServerResponse,
  sizeBytes: number,
  onBytes: (count: number) => void
): Promise<void> {
  let copiedBytes = 0
  for await (const chunk of source) {
    copiedBytes += chunk.length
    // Not one byte too many: the client would take it for the start of the next answer.
    if (copiedBytes > sizeBytes) throw wrongLength(sizeBytes, copiedBytes)
    const flushed = response.write(chunk)
    onBytes(chunk.length)
    if (!flushed) await drained(response)
  }
}

/** How much of a refused body is read to let the client see the answer, and for how long. */
const LINGER_BYTES = 32 * 1024 * 1024
const LINGER_MS = 5_000

/** A refused body up to this long is read to its end, which is cheaper than a new connection. */
const KEEP_ALIVE_BYTES = 1024 * 1024

/** Whether an answer given now would cut short a client that is still sending much. */
export function isSending(request: IncomingMessage): boolean {
  return !request.complete && !(declaredLength(request) <= KEEP_ALIVE_BYTES)
}

/**
 * Gives the whole answer at once but closes only after the client stopped sending, or sent too much.
 * Closing at once would make the kernel reset the connection because of the unread bytes, and the
 * reset can overtake the answer: the client would see a broken pipe, and push again.
 */
export function sendAndLinger(
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer
): void {
  response.write(body)
  const close = () => {
    clearTimeout(timer)
    request.off('data', count).off('end', close).off('error', close)
    request.on('error', () => {})
    response.end()
  }
  const timer = setTimeout(close, LINGER_MS)
  let readBytes = 0
  const count = (chunk: Buffer) => {
    readBytes += chunk.length
    if (readBytes > LINGER_BYTES) close()
  }
  request.on('data', count).on('end', close).on('error', close)
  response.on('close', close)
}

/** `Content-Length`, or NaN when the body is chunked or absent. Node has checked its form. */
export function declaredLength(request: IncomingMessage): number {
  return Number(request.headers['content-length'] ?? Number.NaN)
}

const continued = new WeakSet<IncomingMessage>()

/**
 * Whether the client holds its body back until it is asked for it (`Expect: 100-continue`). When it
 * is answered instead, the connection must end: it may send the body now, or the next request.
 */
export function awaitsContinue(request: IncomingMessage): boolean {
  return request.headers.expect?.toLowerCase() === '100-continue' && !continued.has(request)
}

/** Settles when the response takes more; throws when it was closed instead. */
async function drained(response: ServerResponse): Promise<void> {
  const closed = new AbortController()
  const onClose = () => closed.abort()
  response.once('close', onClose)
  try {
    if (response.destroyed) onClose()
    await once(response, 'drain', { signal: closed.signal })
  } finally {
    response.off('close', onClose)
  }
}

function tooLarge(limitBytes: number): StatusError {
  return new StatusError(413, 'SIZE_INVALID', `a manifest has at most ${limitBytes} bytes`)
}

function wrongLength(announcedBytes: number, sentBytes: number): StarlingError {
  return new StarlingError('UNKNOWN', `${announcedBytes} bytes were announced, ${sentBytes} came`)
}
