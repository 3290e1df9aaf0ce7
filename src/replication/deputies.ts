import { isCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Relay, RelayedRequest, StreamedAnswer } from '../swarm/relay.ts'
import { whileLive } from './live-peer.ts'
import { isRoomy } from './room.ts'
import { unavailable } from './unavailable.ts'

export interface DeputiesOptions {
  readonly mesh: Pick<Mesh, 'peers' | 'on'>
  readonly relay: Pick<Relay, 'open'>
  /** Whom of equals to ask: who answered last, or who has the most room. */
  readonly prefer: 'last' | 'roomiest'
  readonly log: Log
}

/** The nodes that answer for one that stores nothing itself (`--hold none`), or has no room. */
export class Deputies {
  readonly #options: DeputiesOptions
  /** Who answered last: the requests of a push and of a pull are best served by one node. */
  #last: string | undefined

  constructor(options: DeputiesOptions) {
    this.#options = options
  }

  /**
   * Has one of them answer, the next when one cannot be reached. Throws `UNAVAILABLE` when none can,
   * and as `Relay.open` does once a body has been begun, which cannot be sent twice.
   */
  async answer(request: RelayedRequest, signal: AbortSignal): Promise<StreamedAnswer> {
    const { log } = this.#options
    let failure: unknown
    for (const peer of this.#candidates(bytesOf(request))) {
      const body = onlyOnce(request.body)
      try {
        const answer = await this.#ask(peer, { ...request, body: body.give }, signal)
        this.#last = peer.id
        return answer
      } catch (error) {
        if (signal.aborted || body.isGiven() || !isAbsence(error)) throw error
        log.debug({ peer: peer.id, name: peer.name, err: error }, 'deputy not reached')
        failure = error
      }
    }
    throw unavailable('no node that stores images can be reached from this one', failure)
  }

  async #ask(
    peer: PeerView,
    request: RelayedRequest,
    signal: AbortSignal
  ): Promise<StreamedAnswer> {
    const { mesh, relay } = this.#options
    const { id, name, transfer } = peer
    if (transfer === undefined) throw unavailable(`${name} cannot be reached`)
    const live = whileLive(mesh, peer, signal)
    try {
      const answer = await relay.open({ id, name, ...transfer }, request, live.signal)
      answer.body.once('close', live.release)
      return answer
    } catch (error) {
      live.release()
      throw error
    }
  }

  /**
   * Those with room for what is pushed first, then those that are ready, then those that hold all.
   * An older version, known by its not saying how much room it has, answers nobody for others.
   */
  #candidates(bytes: number | undefined): PeerView[] {
    const peers = this.#options.mesh
      .peers()
      .filter(({ state, hold, transfer }) => state === 'live' && hold === 'all' && transfer)
      .filter(({ beat }) => beat === undefined || beat.freeBytes !== undefined)
    const mostBytes = Math.max(0, ...peers.map(freeOf))
    const rank = (peer: PeerView) =>
      (isRoomy(freeOf(peer), mostBytes, bytes) ? 0 : 4) +
      (peer.beat?.ready ? 0 : 2) +
      (peer.beat?.disk === 'ok' ? 0 : 1)
    return peers.sort((a, b) => rank(a) - rank(b) || this.#preference(a) - this.#preference(b))
  }

  #preference(peer: PeerView): number {
    if (this.#options.prefer === 'roomiest') return -freeOf(peer)
    return peer.id === this.#last ? 0 : 1
  }
}

function freeOf({ beat }: PeerView): number {
  return beat?.freeBytes ?? 0
}

/** How much a request brings; `undefined` when it is a push that does not say. */
function bytesOf({ method, headers }: RelayedRequest): number | undefined {
  const isPush = method === 'POST' || method === 'PUT' || method === 'PATCH'
  if (!isPush) return 0
  const bytes = Number(headers['content-length'])
  return bytes > 0 ? bytes : undefined
}

/** The failures after which another node may well answer. */
function isAbsence(error: unknown): boolean {
  return (['PEER_FAILED', 'PEER_REFUSED', 'UNAVAILABLE'] as const).some(code => isCode(error, code))
}

function onlyOnce(body: RelayedRequest['body']) {
  let given = false
  const give =
    body &&
    (() => {
      given = true
      return body()
    })
  return { give, isGiven: () => given }
}
