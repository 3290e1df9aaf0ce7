import { type IncomingMessage, request } from 'node:http'
import { createInterface } from 'node:readline'
import { StarlingError, systemCode } from '../errors.ts'
import { refusal } from './client.ts'
import { controlSocket } from './control.ts'
import type { CollectionDocument, CollectionMode, VerificationLine } from './operations.ts'

/** Progress is told twice a second; a node that is stopped or hung says nothing. */
const VERIFY_SILENCE_MS = 30_000

/** Removing 100,000 blobs takes some minutes, about which nothing is told before the end. */
const COLLECT_SILENCE_MS = 15 * 60_000

/**
 * Has a running node on this machine do something, through the socket in its data directory. Every
 * method throws `UNAVAILABLE` when no node answers, or it stops in the middle, and `UNSUPPORTED`
 * when it is of another version.
 */
export interface ControlClient {
  collect(mode: CollectionMode, signal: AbortSignal): Promise<CollectionDocument>
  verify(signal: AbortSignal): AsyncIterable<VerificationLine>
}

export function controlOfData(dataDir: string): ControlClient {
  const socketPath = controlSocket(dataDir)
  return {
    // The node's answers are of the types that its routes promise.
    async collect({ dryRun, now }, signal) {
      const path = `/collect?dryRun=${dryRun}&now=${now}`
      const post: Post = { socketPath, path, signal, silenceMs: COLLECT_SILENCE_MS }
      for await (const line of linesOf(post)) return line as CollectionDocument
      throw refusal(socketPath, 'it answered nothing')
    },
    verify: signal =>
      linesOf({
        ...{ socketPath, path: '/verify', signal, silenceMs: VERIFY_SILENCE_MS }
      }) as AsyncIterable<VerificationLine>
  }
}

interface Post {
  readonly socketPath: string
  readonly path: string
  readonly signal: AbortSignal
  readonly silenceMs: number
}

/** The answer to a POST, one JSON document after the other as they come. */
async function* linesOf(post: Post): AsyncGenerator<unknown, void> {
  const { socketPath, signal, silenceMs } = post
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(), silenceMs)
  try {
    const response = await send(post, AbortSignal.any([signal, silence.signal]))
    if (response.statusCode !== 200) {
      throw refusal(socketPath, `it answered ${response.statusCode}`)
    }
    for await (const line of createInterface(response)) {
      timer.refresh()
      yield JSON.parse(line)
    }
    if (!response.complete) throw new StarlingError('UNAVAILABLE', `${socketPath} broke off`)
  } catch (cause) {
    signal.throwIfAborted()
    if (cause instanceof StarlingError) throw cause
    if (cause instanceof SyntaxError) throw refusal(socketPath, 'it answered no JSON', cause)
    const why = silence.signal.aborted
      ? `nothing within ${silenceMs / 1_000} s`
      : (systemCode(cause) ?? String(cause))
    throw new StarlingError('UNAVAILABLE', `no node answers at ${socketPath}: ${why}`, { cause })
  } finally {
    clearTimeout(timer)
  }
}

function send({ socketPath, path }: Post, signal: AbortSignal): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, method: 'POST', signal, agent: false })
      .once('response', resolve)
      .once('error', reject)
      .end()
  })
}
