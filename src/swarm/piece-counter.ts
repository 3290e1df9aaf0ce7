import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Log } from '../log.ts'
import { Gate } from './gate.ts'
import { paced } from './paced-writable.ts'
import {
  PIECE_PATH,
  PIECES_PREFIX,
  type PieceDesk,
  type PieceRequest,
  RETRY_HEADER
} from './piece-desk.ts'
import type { RateLimit } from './rate-limit.ts'
import { URGENCIES } from './schedule/messages.ts'
import { pour } from './send-blob.ts'

/** Requests at once, most of which wait for their turn and cost next to nothing. */
const MAX_REQUESTS = 1_024

/** The most that a peer asks of another is a window of pieces, and those that are offered to it. */
const MAX_REQUESTS_PER_PEER = 64

/** For one who asks too much, or while nobody answers yet. */
const REFUSED_RETRY_MS = 1_000

export interface PieceCounterOptions {
  readonly log: Log
  readonly onSent: ((bytes: number) => void) | undefined
  readonly egress: RateLimit | undefined
  /** How long a peer may read nothing of a piece that is being sent. */
  readonly stallTimeoutMs: number
}

/** Answers the requests of peers for pieces, each when the desk says so. */
export class PieceCounter {
  readonly #options: PieceCounterOptions
  readonly #gate = new Gate(MAX_REQUESTS, MAX_REQUESTS_PER_PEER)
  #desk: PieceDesk | undefined

  constructor(options: PieceCounterOptions) {
    this.#options = options
  }

  /** Whether a request is one of these. */
  static isFor(request: IncomingMessage): boolean {
    return request.url?.startsWith(`${PIECES_PREFIX}/`) ?? false
  }

  open(desk: PieceDesk): void {
    this.#desk = desk
  }

  take(request: IncomingMessage, response: ServerResponse, peer: string): void {
    const wanted = readRequest(request, peer)
    if (wanted === undefined) {
      end(response, 400)
      return
    }
    const desk = this.#desk
    const leave = desk && this.#gate.enter(peer)
    if (desk === undefined || leave === undefined) {
      refuse(response, REFUSED_RETRY_MS)
      return
    }
    response.once('close', leave)
    this.#answer(desk, wanted, request, response).catch(error => {
      response.destroy()
      if (request.socket.destroyed) return
      const { key, piece } = wanted
      this.#options.log.warn({ err: error, peer, key, piece }, 'piece not sent')
    })
  }

  async #answer(
    desk: PieceDesk,
    wanted: PieceRequest,
    request: IncomingMessage,
    response: ServerResponse
  ): Promise<void> {
    const left = new AbortController()
    response.once('close', () => {
      if (!response.writableFinished) left.abort(new Error('the peer left'))
    })
    response.sendDate = false
    const { egress, onSent } = this.#options
    // It may wait long for its turn; whoever asks knows how long he wants to.
    request.socket.setTimeout(0)
    const answer = await desk.want(wanted, left.signal)
    request.socket.setTimeout(this.#options.stallTimeoutMs)
    switch (answer.kind) {
      case 'serve': {
        let whole = false
        try {
          const { sizeBytes, body } = answer
          response.writeHead(200, { 'content-length': sizeBytes })
          await pour(body, paced(response, egress, wanted.urgency), onSent)
          whole = true
        } finally {
          desk.sent(wanted, whole)
        }
        return
      }
      case 'busy':
        refuse(response, answer.retryMs)
        return
      case 'unknown':
        end(response, 404)
        return
      default:
        answer satisfies never
    }
  }
}

function readRequest(
  { method, url = '' }: IncomingMessage,
  peer: string
): PieceRequest | undefined {
  const [, key, piece, word] = (method === 'GET' && PIECE_PATH.exec(url)) || []
  const urgency = URGENCIES.find(each => each === word)
  if (key === undefined || urgency === undefined) return undefined
  return { peer, key, piece: Number(piece), urgency }
}

function refuse(response: ServerResponse, retryMs: number): void {
  end(response, 503, { [RETRY_HEADER]: String(Math.ceil(retryMs)) })
}

function end(response: ServerResponse, status: number, headers: Record<string, string> = {}): void {
  response.writeHead(status, { ...headers, 'content-length': '0' }).end()
}
