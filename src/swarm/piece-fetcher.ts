import { StarlingError } from '../errors.ts'
import type { Credentials } from './certificate.ts'
import type { Holder } from './fetcher.ts'
import type { Line } from './line.ts'
import { Lines } from './lines.ts'
import { PieceBuffers } from './piece-buffers.ts'
import { PIECE_PATH, PIECES_PREFIX } from './piece-desk.ts'
import { PieceFilling } from './piece-filling.ts'
import type { RateLimit } from './rate-limit.ts'
import type { Reply } from './reply.ts'
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
  /** Idle connections kept, over all holders; beyond it the one longest unused is closed. */
  readonly maxIdle: number
}

const PIECE_FETCHER_LIMITS: PieceFetcherLimits = {
  connectTimeoutMs: 3_000,
  answerTimeoutMs: 60_000,
  idleTimeoutMs: 30_000,
  maxPieces: 64,
  maxWaiting: 256,
  maxIdle: 128
}

export interface PieceFetcherOptions {
  readonly credentials: Credentials
  readonly limits?: Partial<PieceFetcherLimits>
  /** Called with the number of bytes of each portion that comes in. */
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
  readonly #lines: Lines
  readonly #slots: Slots
  readonly #buffers = new PieceBuffers()
  readonly #closing = new AbortController()

  constructor(options: PieceFetcherOptions) {
    this.#options = options
    this.#limits = { ...PIECE_FETCHER_LIMITS, ...options.limits }
    const { credentials } = options
    const { maxPieces: count, maxWaiting } = this.#limits
    this.#lines = new Lines({ ...this.#limits, credentials })
    this.#slots = new Slots({ count, maxWaiting })
  }

  /** Asks a peer for a piece, and waits until it gives it or says that it does not. Never throws. */
  async fetch(holder: Holder, wish: PieceWish): Promise<FetchedPiece> {
    const signal = AbortSignal.any([wish.signal, this.#closing.signal])
    let free: (() => void) | undefined
    try {
      free = await this.#slots.take(signal)
      return await this.#ask(holder, wish, signal)
    } catch (error) {
      return { kind: 'failed', error: signal.aborted ? signal.reason : error }
    } finally {
      free?.()
    }
  }

  async close(): Promise<void> {
    this.#closing.abort(new StarlingError('CLOSED', 'the fetcher is closed'))
    this.#lines.close()
  }

  /** A kept line may have been closed just as we wrote to it: then a new one is asked. */
  async #ask(holder: Holder, wish: PieceWish, signal: AbortSignal): Promise<FetchedPiece> {
    const kept = this.#lines.takeIdle(holder)
    const first = kept && (await this.#askOver(kept, holder, wish, signal))
    if (first !== undefined) return first
    const line = await this.#lines.open(holder, signal)
    const second = await this.#askOver(line, holder, wish, signal)
    if (second !== undefined) return second
    throw new StarlingError('PEER_FAILED', `${holder.name} broke off before it answered`)
  }

  /** What the peer gives; `undefined` when it hangs up before it answers. */
  async #askOver(
    line: Line,
    holder: Holder,
    wish: PieceWish,
    signal: AbortSignal
  ): Promise<FetchedPiece | undefined> {
    signal.throwIfAborted()
    const onAbort = () => line.close(signal.reason)
    signal.addEventListener('abort', onAbort)
    const answer: { filling?: PieceFilling; reply?: Reply; isLate?: boolean } = {}
    const timer = setTimeout(() => {
      answer.isLate = true
      line.close(new StarlingError('PEER_FAILED', `${holder.name} did not answer`))
    }, this.#limits.answerTimeoutMs)
    try {
      await line.ask(pathOf(wish), reply => {
        clearTimeout(timer)
        answer.reply = reply
        if (reply.status !== 200 || reply.lengthBytes > wish.maxBytes) return undefined
        wish.onStarted?.()
        const filling = this.#fill(line, reply.lengthBytes, wish.urgency)
        answer.filling = filling
        return chunk => filling.take(chunk)
      })
    } catch (error) {
      answer.filling?.release()
      if (answer.reply !== undefined || answer.isLate || signal.aborted) throw error
      return undefined
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      answer.filling?.stop()
      this.#lines.giveBack(holder, line)
    }
    const { filling, reply } = answer
    if (filling === undefined) return refusal(reply, holder)
    return {
      kind: 'arrived',
      bytes: filling.bytes,
      hash: filling.digest(),
      release: () => filling.release()
    }
  }

  #fill(line: Line, lengthBytes: number, urgency: Urgency): PieceFilling {
    const { onReceived: onBytes = ignore, ingress } = this.#options
    return new PieceFilling({
      ...{ buffers: this.#buffers, lengthBytes, onBytes },
      pace: bytes => ingress?.take(bytes, urgency),
      onStall: () => line.close(new StarlingError('PEER_FAILED', 'the peer stalled within a piece'))
    })
  }
}

function pathOf({ key, piece, urgency }: PieceWish): string {
  const path = `${PIECES_PREFIX}/${key}/${piece}?urgency=${urgency}`
  if (PIECE_PATH.test(path)) return path
  throw new StarlingError('UNKNOWN', `"${key}" and ${piece} cannot name a piece`)
}

/** What an answer without a piece means. */
function refusal(reply: Reply | undefined, holder: Holder): FetchedPiece {
  if (reply?.status === 404) return { kind: 'unknown' }
  if (reply?.status === 503) {
    return { kind: 'busy', retryMs: Math.min(reply.retryMs ?? MAX_RETRY_MS, MAX_RETRY_MS) }
  }
  const what = `${holder.name} answers ${reply?.status} with ${reply?.lengthBytes} bytes to a piece`
  throw new StarlingError('PEER_FAILED', what)
}

/** Nobody may send us away for longer. */
const MAX_RETRY_MS = 10_000

function ignore(): void {}
