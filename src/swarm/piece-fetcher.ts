import type { ClientRequest, IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { StarlingError } from '../errors.ts'
import type { PinnedRequestOptions } from './agent.ts'
import { Agents } from './agents.ts'
import type { Credentials } from './certificate.ts'
import { discard, isHangUp, responseOf } from './exchange.ts'
import type { Holder } from './fetcher.ts'
import { readPiece } from './piece-body.ts'
import { PieceBuffers } from './piece-buffers.ts'
import { PIECES_PREFIX, RETRY_HEADER } from './piece-desk.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Urgency } from './schedule/messages.ts'
import { Slots } from './slots.ts'

/** A piece wanted of a peer. */
export interface PieceWish {
  readonly key: string
  readonly piece: number
  readonly urgency: Urgency
  /** How many bytes it may have; from one who sends more none are taken. */
  readonly maxBytes: number
  /** Its abort takes the wish back: the peer need not send, or send on. */
  readonly signal: AbortSignal
  /** Called when the piece begins to come in. */
  readonly onStarted?: () => void
}

export type FetchedPiece =
  | {
      readonly kind: 'arrived'
      readonly bytes: Buffer
      /** The SHA-256 of the bytes, which nobody has compared with anything yet. */
      readonly hash: Buffer
      /** To be called when nobody looks at the bytes any more; their memory is used again. */
      readonly release: () => void
    }
  | { readonly kind: 'busy'; readonly retryMs: number }
  /** The peer has no such blob or piece. */
  | { readonly kind: 'unknown' }
  /** `PEER_FAILED`, `PEER_REFUSED`, or the reason of the signal. */
  | { readonly kind: 'failed'; readonly error: unknown }

export interface PieceFetcherLimits {
  /** To a finished TLS handshake. */
  readonly connectTimeoutMs: number
  /** From asking to the answer, which comes when it is our turn; those who ask have tighter ones. */
  readonly answerTimeoutMs: number
  /** How long an idle connection is kept. Less than the server's 60 s, so that we hang up first. */
  readonly idleTimeoutMs: number
  /** Pieces at once, over all holders: each has a connection, and up to 8 MiB of memory. */
  readonly maxPieces: number
  /** Callers that wait for a place; beyond it they fail. */
  readonly maxWaiting: number
  /** Holders with connections kept; beyond it those of the idle one longest unused are closed. */
  readonly maxHolders: number
}

export const PIECE_FETCHER_LIMITS: PieceFetcherLimits = {
  connectTimeoutMs: 3_000,
  answerTimeoutMs: 60_000,
  idleTimeoutMs: 30_000,
  maxPieces: 64,
  maxWaiting: 256,
  maxHolders: 64
}

export interface PieceFetcherOptions {
  readonly credentials: Credentials
  readonly limits?: Partial<PieceFetcherLimits>
  /** Called with the number of bytes of each chunk that comes in. */
  readonly onReceived?: (bytes: number) => void
  /** Of all pieces that come in. */
  readonly ingress?: RateLimit
}

/**
 * Fetches pieces from other nodes, over pinned connections that are kept alive and carry nothing
 * else, so that a whole blob on its way does not stand before a piece.
 */
export class PieceFetcher {
  readonly #options: PieceFetcherOptions
  readonly #limits: PieceFetcherLimits
  readonly #agents: Agents
  readonly #slots: Slots
  readonly #buffers = new PieceBuffers()
  readonly #closing = new AbortController()

  constructor(options: PieceFetcherOptions) {
    this.#options = options
    this.#limits = { ...PIECE_FETCHER_LIMITS, ...options.limits }
    const { credentials } = options
    const { maxPieces: count, maxWaiting } = this.#limits
    this.#agents = new Agents({ ...this.#limits, credentials, maxSockets: count })
    this.#slots = new Slots({ count, maxWaiting })
  }

  /** Asks a peer for a piece, and waits until it gives it or says that it does not. Never throws. */
  async fetch(holder: Holder, wish: PieceWish): Promise<FetchedPiece> {
    const signal = AbortSignal.any([wish.signal, this.#closing.signal])
    let free: (() => void) | undefined
    try {
      free = await this.#slots.take(signal)
      const response = await this.#ask(holder, wish, signal)
      return await this.#take(response, holder, wish)
    } catch (error) {
      return { kind: 'failed', error: signal.aborted ? signal.reason : error }
    } finally {
      free?.()
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new StarlingError('CLOSED', 'the fetcher is closed'))
    this.#agents.destroy()
  }

  /** A kept connection may have been closed just as we wrote to it: then it is asked once more. */
  async #ask(holder: Holder, wish: PieceWish, signal: AbortSignal): Promise<IncomingMessage> {
    const first = this.#send(holder, wish, signal)
    try {
      return await this.#answerTo(first, holder)
    } catch (error) {
      if (!first.reusedSocket || !isHangUp(error)) throw error
      return this.#answerTo(this.#send(holder, wish, signal), holder)
    }
  }

  #send(holder: Holder, wish: PieceWish, signal: AbortSignal): ClientRequest {
    const options: PinnedRequestOptions = {
      agent: this.#agents.of(holder),
      host: holder.host,
      port: holder.port,
      path: `${PIECES_PREFIX}/${wish.key}/${wish.piece}?urgency=${wish.urgency}`,
      signal,
      connectSignal: signal
    }
    const sent = request(options)
    // The first error rejects the wait below; later ones reach the reader through the body.
    sent.on('error', ignore)
    sent.end()
    return sent
  }

  async #answerTo(sent: ClientRequest, holder: Holder): Promise<IncomingMessage> {
    const silent = new StarlingError('PEER_FAILED', `${holder.name} did not answer`)
    const timer = setTimeout(() => sent.destroy(silent), this.#limits.answerTimeoutMs)
    try {
      const response = await responseOf(sent)
      response.on('error', ignore)
      return response
    } catch (cause) {
      if (cause instanceof StarlingError) throw cause
      const what = `${holder.name} broke off before it answered`
      throw new StarlingError('PEER_FAILED', what, { cause })
    } finally {
      clearTimeout(timer)
    }
  }

  async #take(
    response: IncomingMessage,
    holder: Holder,
    { maxBytes, urgency, onStarted }: PieceWish
  ): Promise<FetchedPiece> {
    const { statusCode: status, headers } = response
    const lengthBytes = wholeNumber(headers['content-length'])
    if (status === 200 && lengthBytes !== undefined && lengthBytes <= maxBytes) {
      onStarted?.()
      const { buffer, release } = this.#buffers.take(lengthBytes)
      try {
        const { onReceived: onBytes = ignore, ingress } = this.#options
        const pace = (bytes: number) => ingress?.take(bytes, urgency)
        const hash = await readPiece(response, buffer, { onBytes, pace })
        return { kind: 'arrived', bytes: buffer, hash, release }
      } catch (error) {
        release()
        throw error
      }
    }
    await discard(response)
    if (status === 404) return { kind: 'unknown' }
    if (status === 503) {
      const asked = headers[RETRY_HEADER]
      const retryMs = wholeNumber(typeof asked === 'string' ? asked : undefined)
      return { kind: 'busy', retryMs: Math.min(retryMs ?? MAX_RETRY_MS, MAX_RETRY_MS) }
    }
    throw new StarlingError('PEER_FAILED', `${holder.name} answers ${status} to a piece`)
  }
}

/** Nobody may send us away for longer. */
const MAX_RETRY_MS = 10_000

/** Only digits, and few enough that the number is exact. */
function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : undefined
}

function ignore(): void {}
