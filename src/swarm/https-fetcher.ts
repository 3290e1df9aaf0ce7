import type { ClientRequest, IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { PinnedAgent, PinnedRequestOptions } from './agent.ts'
import { Agents } from './agents.ts'
import { type Answer, readAnswer } from './answer.ts'
import type { Credentials } from './certificate.ts'
import { discard, isHangUp, responseOf } from './exchange.ts'
import type { Fetched, Fetcher, Holder } from './fetcher.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Urgency } from './schedule/messages.ts'
import { AWAITED } from './send-blob.ts'
import { Slots } from './slots.ts'

export interface FetcherLimits {
  /** To a finished TLS handshake. */
  readonly connectTimeoutMs: number
  /** From the call to the head of the answer, connecting included, waiting for a slot not. */
  readonly answerTimeoutMs: number
  /** How long an idle connection is kept. Less than the server's 60 s, so that we hang up first. */
  readonly idleTimeoutMs: number
  /** Transfers at once, over all holders: each costs up to 2 MiB of buffers. */
  readonly maxTransfers: number
  /** Callers that wait for a slot; beyond it `UNAVAILABLE`. */
  readonly maxWaiting: number
  /** Holders with connections kept; beyond it those of the idle one longest unused are closed. */
  readonly maxHolders: number
}

export const FETCHER_LIMITS: FetcherLimits = {
  connectTimeoutMs: 3_000,
  answerTimeoutMs: 10_000,
  idleTimeoutMs: 30_000,
  maxTransfers: 16,
  maxWaiting: 1_000,
  maxHolders: 64
}

/** Fetches blobs from the {@link TransferServer} of other nodes, over pinned connections kept alive. */
export class HttpsFetcher implements Fetcher {
  readonly #limits: FetcherLimits
  readonly #slots: Slots
  readonly #ingress: RateLimit | undefined
  readonly #agents: Agents
  readonly #closing = new AbortController()

  constructor(options: {
    readonly credentials: Credentials
    readonly limits?: Partial<FetcherLimits>
    /** Of all that comes in. */
    readonly ingress?: RateLimit
  }) {
    this.#limits = { ...FETCHER_LIMITS, ...options.limits }
    const { maxTransfers: count, maxWaiting } = this.#limits
    const { credentials } = options
    this.#ingress = options.ingress
    this.#agents = new Agents({ ...this.#limits, credentials, maxSockets: count })
    this.#slots = new Slots({ count, maxWaiting })
  }

  async open(
    holder: Holder,
    digest: Digest,
    start: number,
    signal: AbortSignal,
    urgency: Urgency = 'background'
  ): Promise<Fetched> {
    const either = AbortSignal.any([signal, this.#closing.signal])
    const free = await this.#slots.take(either)
    try {
      const { answer, response } = await this.#ask(holder, pathOf(digest, urgency), start, either)
      if (answer.kind === 'ended') {
        await discard(response)
        free()
        return { sizeBytes: answer.sizeBytes, body: Readable.from([]) }
      }
      response.once('close', free)
      const body = pacedBody(response, this.#ingress, urgency)
      return { sizeBytes: answer.sizeBytes, body }
    } catch (error) {
      free()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new StarlingError('CLOSED', 'the fetcher is closed'))
    this.#agents.destroy()
  }

  /**
   * A kept connection may have been closed by the other side just as we wrote to it: a request that
   * dies so before any answer is made once more.
   */
  async #ask(holder: Holder, path: string, start: number, signal: AbortSignal): Promise<Asked> {
    const agent = this.#agents.of(holder)
    const first = sendRequest(agent, holder, path, start, signal)
    try {
      return await answerTo(first, holder, start, signal, this.#limits.answerTimeoutMs)
    } catch (error) {
      if (!first.reusedSocket || !isHangUp(error)) throw error
      const second = sendRequest(agent, holder, path, start, signal)
      return answerTo(second, holder, start, signal, this.#limits.answerTimeoutMs)
    }
  }
}

interface Asked {
  readonly answer: Answer
  readonly response: IncomingMessage
}

function sendRequest(
  agent: PinnedAgent,
  { host, port }: Holder,
  path: string,
  start: number,
  signal: AbortSignal
): ClientRequest {
  const headers = start === 0 ? {} : { range: `bytes=${start}-` }
  const options: PinnedRequestOptions = {
    agent,
    host,
    port,
    path,
    headers,
    signal,
    connectSignal: signal
  }
  const sent = request(options)
  // The first error rejects the wait below; later ones reach the reader through the body.
  sent.on('error', ignore)
  sent.end()
  return sent
}

function pathOf(digest: Digest, urgency: Urgency): string {
  return `/blobs/${digest}${urgency === 'awaited' ? AWAITED : ''}`
}

/** The body, read no faster than the limit lets it come. */
function pacedBody(body: Readable, limit: RateLimit | undefined, urgency: Urgency): Readable {
  if (limit === undefined || limit.isUnlimited) return body
  return Readable.from(
    (async function* () {
      for await (const chunk of body) {
        await limit.take(chunk.length, urgency)
        yield chunk
      }
    })()
  )
}

async function answerTo(
  sent: ClientRequest,
  holder: Holder,
  start: number,
  signal: AbortSignal,
  timeoutMs: number
): Promise<Asked> {
  const timer = setTimeout(
    () => sent.destroy(new StarlingError('PEER_FAILED', `${holder.name} did not answer`)),
    timeoutMs
  )
  try {
    const response = await responseOf(sent)
    response.on('error', ignore)
    try {
      return { answer: readAnswer(response, holder, start), response }
    } catch (error) {
      await discard(response)
      throw error
    }
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof StarlingError) throw error
    throw new StarlingError('PEER_FAILED', `${holder.name} broke off before it answered`, {
      cause: error
    })
  } finally {
    clearTimeout(timer)
  }
}

function ignore(): void {}
