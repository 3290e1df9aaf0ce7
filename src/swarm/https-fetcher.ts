import type { ClientRequest, IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { PinnedAgent, PinnedRequestOptions } from './agent.ts'
import { Agents } from './agents.ts'
import { readAnswer } from './answer.ts'
import { BATCH_PATH, encodeRequest } from './batch.ts'
import type { Credentials } from './certificate.ts'
import { discard, isHangUp, responseOf } from './exchange.ts'
import type { AskOptions, BatchFetcher, Fetched, Fetcher, Holder } from './fetcher.ts'
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

const FETCHER_LIMITS: FetcherLimits = {
  connectTimeoutMs: 3_000,
  answerTimeoutMs: 10_000,
  idleTimeoutMs: 30_000,
  maxTransfers: 16,
  maxWaiting: 1_000,
  maxHolders: 64
}

/** Fetches blobs from the {@link TransferServer} of other nodes, over pinned connections kept alive. */
export class HttpsFetcher implements Fetcher, BatchFetcher {
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
    { urgency = 'background', answerTimeoutMs }: AskOptions = {}
  ): Promise<Fetched> {
    const question = { path: pathOf(digest, urgency), start, answerTimeoutMs }
    const { response, free } = await this.#ask(holder, question, signal)
    try {
      const answer = readAnswer(response, holder, start)
      if (answer.kind === 'ended') {
        await discard(response)
        free()
        return { sizeBytes: answer.sizeBytes, body: Readable.from([]) }
      }
      return { sizeBytes: answer.sizeBytes, body: pacedBody(response, this.#ingress, urgency) }
    } catch (error) {
      await discard(response)
      throw error
    }
  }

  async openBatch(
    holder: Holder,
    digests: readonly Digest[],
    signal: AbortSignal,
    { answerTimeoutMs }: AskOptions = {}
  ): Promise<Readable | undefined> {
    const body = encodeRequest(digests)
    const question = { path: BATCH_PATH, start: 0, body, answerTimeoutMs }
    const { response } = await this.#ask(holder, question, signal)
    const { statusCode } = response
    if (statusCode === 200) return pacedBody(response, this.#ingress, 'background')
    await discard(response)
    if (statusCode === 404 || statusCode === 405) return undefined
    throw new StarlingError('PEER_FAILED', `${holder.name} answers ${statusCode} to a batch`)
  }

  async close(): Promise<void> {
    this.#closing.abort(new StarlingError('CLOSED', 'the fetcher is closed'))
    this.#agents.destroy()
  }

  /** A place is taken until the answer has been read, or `free` is called. */
  async #ask(holder: Holder, question: Question, signal: AbortSignal): Promise<Asked> {
    const either = AbortSignal.any([signal, this.#closing.signal])
    const free = await this.#slots.take(either)
    try {
      const response = await this.#answer(holder, question, either)
      response.once('close', free)
      return { response, free }
    } catch (error) {
      free()
      throw error
    }
  }

  /**
   * A kept connection may have been closed by the other side just as we wrote to it: a request that
   * dies so before any answer is made once more.
   */
  async #answer(holder: Holder, question: Question, signal: AbortSignal): Promise<IncomingMessage> {
    const longest = this.#limits.answerTimeoutMs
    const timeoutMs = Math.min(question.answerTimeoutMs ?? longest, longest)
    const agent = this.#agents.of(holder)
    const first = sendRequest(agent, holder, question, signal)
    try {
      return await answerTo(first, holder, signal, timeoutMs)
    } catch (error) {
      if (!first.reusedSocket || !isHangUp(error)) throw error
      const second = sendRequest(agent, holder, question, signal)
      return answerTo(second, holder, signal, timeoutMs)
    }
  }
}

interface Question {
  readonly path: string
  /** The byte from which on the blob is wanted. */
  readonly start: number
  /** Posted, where there is any. */
  readonly body?: Buffer
  readonly answerTimeoutMs: number | undefined
}

interface Asked {
  readonly response: IncomingMessage
  readonly free: () => void
}

function sendRequest(
  agent: PinnedAgent,
  { host, port }: Holder,
  { path, start, body }: Question,
  signal: AbortSignal
): ClientRequest {
  const headers = {
    ...(start > 0 && { range: `bytes=${start}-` }),
    ...(body && { 'content-length': body.length })
  }
  const options: PinnedRequestOptions = {
    ...{ agent, host, port, path, headers, signal },
    method: body === undefined ? 'GET' : 'POST',
    connectSignal: signal
  }
  const sent = request(options)
  // The first error rejects the wait below; later ones reach the reader through the body.
  sent.on('error', ignore)
  sent.end(body)
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

/** The head of the answer, its body still to come. */
async function answerTo(
  sent: ClientRequest,
  holder: Holder,
  signal: AbortSignal,
  timeoutMs: number
): Promise<IncomingMessage> {
  const timer = setTimeout(
    () => sent.destroy(new StarlingError('PEER_FAILED', `${holder.name} did not answer`)),
    timeoutMs
  )
  try {
    const response = await responseOf(sent)
    return response.on('error', ignore)
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
