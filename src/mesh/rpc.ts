import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { lpStream } from '@libp2p/utils'
import { withDeadline } from '../deadline.ts'
import { StarlingError } from '../errors.ts'

/** How long a peer that opened a request may take to send it, or to take its answer. */
const FRAME_TIMEOUT_MS = 10_000

/** Requests of one protocol that one connection carries at a time; one more fails at once. */
const MAX_OUTBOUND_STREAMS = 64

/** Above the outbound limit, since a stream lives a little longer on the side that answers. */
const MAX_INBOUND_STREAMS = 128

/** Length prefix and status byte, rounded up. */
const FRAME_OVERHEAD_BYTES = 64

const OK = 0
const FAILED = 1
const MAX_FAILURE_LENGTH = 500

export interface CallOptions {
  readonly signal: AbortSignal
  /** The longest answer that is taken. */
  readonly maxBytes: number
}

/**
 * Asks one thing over a connection: a stream with one length-prefixed frame each way. Throws
 * `PEER_FAILED` when the peer is silent until the signal, answers too much or says that it failed.
 */
export async function call(
  connection: Connection,
  protocol: string,
  payload: Uint8Array,
  { signal, maxBytes }: CallOptions
): Promise<Uint8Array> {
  let stream: Stream | undefined
  try {
    stream = await connection.newStream([protocol], {
      signal,
      maxOutboundStreams: MAX_OUTBOUND_STREAMS
    })
    const frames = bounded(stream, maxBytes)
    await frames.write(payload, { signal })
    await stream.close({ signal })
    return readAnswer((await frames.read({ signal })).subarray())
  } catch (error) {
    stream?.abort(error instanceof Error ? error : new Error('failed'))
    if (error instanceof StarlingError) throw error
    throw new StarlingError('PEER_FAILED', `the peer did not answer ${protocol}`, { cause: error })
  }
}

export interface ServeOptions {
  /** The longest request that is taken; a longer one is cut off. */
  readonly maxBytes: number
  /** Aborted when the node closes. */
  readonly signal: AbortSignal
}

/** Answers one request; the signal is aborted when the peer no longer waits or the node closes. */
export type Handler = (
  connection: Connection,
  payload: Uint8Array,
  signal: AbortSignal
) => Promise<Uint8Array>

/** Answers {@link call}s of one protocol. What the handler throws is told to the peer in words. */
export async function serve(
  node: Libp2p,
  protocol: string,
  { maxBytes, signal: closing }: ServeOptions,
  handler: Handler
): Promise<void> {
  const onStream = async (stream: Stream, connection: Connection): Promise<void> => {
    const left = new AbortController()
    stream.addEventListener('close', () => left.abort(new Error('the peer left')))
    const signal = AbortSignal.any([left.signal, closing])
    const frames = bounded(stream, maxBytes)
    const request = await frames.read({ signal: withLimit(signal) })
    const answer = await answerOf(handler, connection, request.subarray(), signal)
    await frames.write(answer, { signal: withLimit(signal) })
    await stream.close({ signal: withLimit(signal) })
  }
  await node.handle(protocol, onStream, {
    maxInboundStreams: MAX_INBOUND_STREAMS,
    maxOutboundStreams: MAX_OUTBOUND_STREAMS
  })
}

function bounded(stream: Stream, maxBytes: number) {
  return lpStream(stream, {
    maxDataLength: maxBytes + 1,
    maxBufferSize: maxBytes + FRAME_OVERHEAD_BYTES
  })
}

function withLimit(signal: AbortSignal): AbortSignal {
  return withDeadline(FRAME_TIMEOUT_MS, signal)
}

async function answerOf(
  handler: Handler,
  connection: Connection,
  request: Uint8Array,
  signal: AbortSignal
): Promise<Uint8Array> {
  try {
    return Buffer.concat([Buffer.of(OK), await handler(connection, request, signal)])
  } catch (error) {
    // Only our own sentences travel: other errors may quote paths or data of this node.
    const words = error instanceof StarlingError ? error.message : 'an error of its own'
    return Buffer.concat([Buffer.of(FAILED), Buffer.from(words.slice(0, MAX_FAILURE_LENGTH))])
  }
}

function readAnswer(frame: Uint8Array): Uint8Array {
  if (frame[0] === OK) return frame.subarray(1)
  const words = Buffer.from(frame.subarray(1)).toString('utf8').slice(0, MAX_FAILURE_LENGTH)
  throw new StarlingError('PEER_FAILED', `the peer failed: ${words}`)
}
