import type { IncomingMessage, ServerResponse } from 'node:http'
import { Gate } from './gate.ts'
import { RELAY_IDLE_TIMEOUT_MS, RELAY_LIMITS, RELAY_PREFIX } from './relay-limits.ts'

/** Answers a request that a peer passes on from a client of its own; its URL is as a client sends it. */
export type RelayHandler = (request: IncomingMessage, response: ServerResponse) => void

/** The requests that peers pass on to this node, at the end where they are answered. */
export class Intake {
  readonly #gate = new Gate(RELAY_LIMITS.max, RELAY_LIMITS.maxPerPeer)
  /** By the peer that each came from. */
  readonly #taken = new Map<ServerResponse, string>()
  #handler: RelayHandler | undefined

  /** Whether a request is one of these. */
  static isFor(request: IncomingMessage): boolean {
    return request.url?.startsWith(`${RELAY_PREFIX}/`) ?? false
  }

  /** Hands all that come from now on to this handler. */
  open(handler: RelayHandler): void {
    this.#handler = handler
  }

  /** Takes a request; 503 while there is no handler, or when there are too many. */
  take(request: IncomingMessage, response: ServerResponse, peer: string): void {
    const handler = this.#handler
    const leave = handler && this.#gate.enter(peer)
    if (handler === undefined || leave === undefined) {
      response
        .writeHead(503, { 'retry-after': '1', 'content-length': '0', connection: 'close' })
        .end()
      return
    }
    this.#taken.set(response, peer)
    response.once('close', () => {
      leave()
      this.#taken.delete(response)
    })
    // Longer than for blobs, until the answer is out: here a client may be slow, or we are.
    request.socket.setTimeout(RELAY_IDLE_TIMEOUT_MS)
    request.url = request.url?.slice(RELAY_PREFIX.length) ?? ''
    handler(request, response)
  }

  /**
   * Ends what came from a peer. When that has died without a word, the bodies it was sending would
   * keep their uploads from going on by another way.
   */
  cut(peer: string): void {
    for (const [response, from] of this.#taken) if (from === peer) response.destroy()
  }
}
