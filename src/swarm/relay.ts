import type { ClientRequest, IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { request as sendRequest } from 'node:https'
import type { Readable } from 'node:stream'
import { StarlingError } from '../errors.ts'
import type { PinnedRequestOptions } from './agent.ts'
import { Agents } from './agents.ts'
import type { Credentials } from './certificate.ts'
import { isHangUp, responseOf } from './exchange.ts'
import type { Holder } from './fetcher.ts'
import { Gate } from './gate.ts'
import { RELAY_IDLE_TIMEOUT_MS, RELAY_LIMITS, RELAY_PREFIX } from './relay-limits.ts'

/** A client's request, to be answered by another node. */
export interface RelayedRequest {
  readonly method: string
  /** The path and query by which the other node knows it. */
  readonly path: string
  /** A body goes out in chunks when no `content-length` is among them. */
  readonly headers: Readonly<Record<string, string>>
  /** Gives the body, and is called when the other node asks for it; `undefined` when there is none. */
  readonly body?: (() => AsyncIterable<Uint8Array>) | undefined
}

export interface RelayedAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** An answer of any length, to be read or destroyed. */
export interface StreamedAnswer extends Omit<RelayedAnswer, 'body'> {
  readonly body: Readable
}

export interface RelayOptions {
  readonly credentials: Credentials
  /** How long the connection may be silent both ways; a little over a minute if not given. */
  readonly idleTimeoutMs?: number
}

/**
 * Passes requests on to other nodes, over pinned connections kept alive. Bodies are streamed, no
 * faster than the other node takes them.
 *
 * Every body waits for the other node's `100 Continue`. So one that is refused is never read from
 * its client, and a request that meets a connection closed meanwhile can be made once more.
 */
export class Relay {
  readonly #agents: Agents
  readonly #gate = new Gate(RELAY_LIMITS.max, RELAY_LIMITS.maxPerPeer)
  readonly #idleTimeoutMs: number
  readonly #closing = new AbortController()

  constructor({ credentials, idleTimeoutMs = RELAY_IDLE_TIMEOUT_MS }: RelayOptions) {
    this.#idleTimeoutMs = idleTimeoutMs
    this.#agents = new Agents({ ...AGENT_LIMITS, credentials })
  }

  /** Passes one request on whose answer is small, and gives that whole. Throws as {@link open}. */
  async send(holder: Holder, request: RelayedRequest, signal: AbortSignal): Promise<RelayedAnswer> {
    const { status, headers, body } = await this.open(holder, request, signal)
    try {
      return { status, headers, body: await small(body) }
    } catch (error) {
      throw failureOf(error, holder, signal)
    }
  }

  /**
   * Passes one request on. Throws the error of the body when that breaks off, the signal's reason,
   * `UNAVAILABLE` when too many are under way, `PEER_REFUSED` and `PEER_FAILED` as a `Fetcher` does.
   */
  async open(
    holder: Holder,
    request: RelayedRequest,
    signal: AbortSignal
  ): Promise<StreamedAnswer> {
    const either = AbortSignal.any([signal, this.#closing.signal])
    const leave = this.#gate.enter(holder.id)
    if (leave === undefined) {
      throw new StarlingError('UNAVAILABLE', 'too many requests are passed on at once')
    }
    try {
      const response = await this.#answer(holder, request, either)
      response.once('close', leave)
      return { status: response.statusCode ?? 0, headers: response.headers, body: response }
    } catch (error) {
      leave()
      throw error
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new StarlingError('CLOSED', 'the relay is closed'))
    this.#agents.destroy()
  }

  /** A connection that was kept may turn out to be closed; then the request is made once more. */
  async #answer(
    holder: Holder,
    request: RelayedRequest,
    signal: AbortSignal
  ): Promise<IncomingMessage> {
    const first = this.#begin(holder, request, signal)
    try {
      return await first.answer
    } catch (error) {
      const isStale = first.sent.reusedSocket && !first.continued() && isHangUp(error)
      if (!isStale) throw error
      return await this.#begin(holder, request, signal).answer
    }
  }

  #begin(holder: Holder, request: RelayedRequest, signal: AbortSignal): Exchange {
    const { host, port } = holder
    const { method, headers, body } = request
    const options: PinnedRequestOptions = {
      ...{ agent: this.#agents.of(holder), host, port, method },
      path: RELAY_PREFIX + request.path,
      headers: body === undefined ? withoutBody(headers) : { ...headers, expect: '100-continue' },
      ...{ signal, connectSignal: signal }
    }
    const sent = sendRequest(options)
    sent.setTimeout(this.#idleTimeoutMs, () =>
      sent.destroy(new StarlingError('PEER_FAILED', `${holder.name} is silent`))
    )
    return exchange(sent, holder, body, signal)
  }
}

const AGENT_LIMITS = {
  connectTimeoutMs: 3_000,
  /** Less than the 60 s of the server, so that we hang up first. */
  idleTimeoutMs: 30_000,
  maxSockets: RELAY_LIMITS.maxPerPeer,
  maxHolders: 64
}

/** A client may have announced a body that nobody wants, which would be waited for. */
function withoutBody(headers: Readonly<Record<string, string>>): Record<string, string> {
  return { ...headers, 'content-length': '0' }
}

/** An error has a few hundred bytes; one for each of a hundred digests has 20 kB. */
const MAX_ANSWER_BYTES = 64 * 1024

interface Exchange {
  readonly sent: ClientRequest
  readonly answer: Promise<IncomingMessage>
  /** Whether the body was asked for. */
  continued(): boolean
}

function exchange(
  sent: ClientRequest,
  holder: Holder,
  body: (() => AsyncIterable<Uint8Array>) | undefined,
  signal: AbortSignal
): Exchange {
  let isContinued = false
  const broken = Promise.withResolvers<never>()
  broken.promise.catch(() => undefined)
  // The first error rejects the wait for the answer; what comes later does not matter.
  sent.on('error', ignore)
  if (body === undefined) sent.end()
  else {
    sent.once('continue', () => {
      isContinued = true
      pump(body(), sent).catch(broken.reject)
    })
  }
  // The other node may answer before it has the whole body, and the client may break off.
  const end = () => {
    if (!sent.writableEnded) sent.destroy()
  }
  const answer = Promise.race([headOf(sent, holder, signal), broken.promise])
  answer.then(response => {
    response.once('close', end)
    broken.promise.catch(error => response.destroy(error))
  }, end)
  return { sent, answer, continued: () => isContinued }
}

/** Sends a body. Throws its error only: what befalls the request shows in the answer. */
async function pump(body: AsyncIterable<Uint8Array>, sent: ClientRequest): Promise<void> {
  for await (const chunk of body) {
    if (sent.destroyed) return
    if (!sent.write(chunk)) await drained(sent)
  }
  sent.end()
}

/** Settles when the request takes more, or never will. */
function drained(sent: ClientRequest): Promise<void> {
  return new Promise(resolve => {
    const settle = () => {
      sent.off('drain', settle).off('close', settle)
      resolve()
    }
    sent.on('drain', settle).on('close', settle)
    if (sent.destroyed) settle()
  })
}

async function headOf(
  sent: ClientRequest,
  holder: Holder,
  signal: AbortSignal
): Promise<IncomingMessage> {
  try {
    return await responseOf(sent)
  } catch (error) {
    throw failureOf(error, holder, signal)
  }
}

/** What it means for the client that an answer did not come, or not to its end. */
function failureOf(error: unknown, holder: Holder, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason
  if (error instanceof StarlingError) return error
  const message = `${holder.name} broke off before it had answered`
  return new StarlingError('PEER_FAILED', message, { cause: error })
}

async function small(response: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  let sizeBytes = 0
  for await (const chunk of response) {
    sizeBytes += chunk.length
    if (sizeBytes > MAX_ANSWER_BYTES) {
      throw new StarlingError('PEER_FAILED', `an answer of more than ${MAX_ANSWER_BYTES} bytes`)
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, sizeBytes)
}

function ignore(): void {}
