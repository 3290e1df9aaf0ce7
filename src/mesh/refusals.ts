import type { MessageStream, MultiaddrConnection } from '@libp2p/interface'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { type Address, formatAddress, fromMultiaddr } from './address.ts'

/** What both ends say when the handshake fails; operators search for these words. */
export const REFUSAL = 'different cluster secret, or not Starling'

/** What is said of a peer that may well be of this cluster, and too busy to answer. */
export const SLOW = 'peer did not answer the handshake in time'

/** How a handshake failed, and where in it. */
export interface HandshakeFailure {
  readonly kind: 'refused' | 'slow'
  readonly at: 'the preamble' | 'the proof'
}

/** Says the same of one peer at most this often: a wrong secret is redialled every few seconds. */
const REPEAT_MS = 60_000

/** Peers remembered; beyond it the oldest is forgotten and may be logged again. */
const MAX_REMEMBERED = 256

/** Logs peers that failed the handshake, each seldom, so that a stranger cannot fill the log. */
export class Refusals {
  readonly #clock: Clock
  readonly #log: Log
  readonly #saidAt = new Map<string, number>()

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  say(connection: MessageStream, { kind, at }: HandshakeFailure): void {
    const { direction } = connection
    const address = addressOf(connection)
    const remote = address === undefined ? 'unknown' : formatAddress(address)
    // The port of a peer that dialled is new each time.
    const key = `${kind} ${direction} ${direction === 'inbound' ? address?.host : remote}`
    const now = this.#clock.monotonic()
    const saidAt = this.#saidAt.get(key)
    if (saidAt !== undefined && now - saidAt < REPEAT_MS) return
    this.#saidAt.delete(key)
    this.#saidAt.set(key, now)
    for (const oldest of this.#saidAt.keys()) {
      if (this.#saidAt.size <= MAX_REMEMBERED) break
      this.#saidAt.delete(oldest)
    }
    const words = kind === 'slow' ? SLOW : `peer refused: ${REFUSAL}`
    this.#log.warn({ direction, remote, reason: `at ${at}` }, words)
  }
}

function addressOf(connection: MessageStream | MultiaddrConnection): Address | undefined {
  return 'remoteAddr' in connection ? fromMultiaddr(connection.remoteAddr) : undefined
}
