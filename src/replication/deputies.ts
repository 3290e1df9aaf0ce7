import { isCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Relay, RelayedRequest, StreamedAnswer } from '../swarm/relay.ts'
import { whileLive } from './live-peer.ts'
import { unavailable } from './unavailable.ts'

/** Which of two nodes is asked first: the sooner the less this gives for it. */
type Rank = (peer: PeerView) => number

export interface DeputiesOptions {
  readonly mesh: Pick<Mesh, 'peers' | 'on'>
  readonly relay: Pick<Relay, 'open'>
  /** Those that are ready and have room before others if not given. */
  readonly rank?: Rank
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
    for (const peer of this.#candidates()) {
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

  /** Among equals who answered last. */
  #candidates(): PeerView[] {
    const { mesh, rank = readyAndRoomy } = this.#options
    const isLast = ({ id }: PeerView) => (id === this.#last ? 0 : 1)
    return mesh
      .peers()
      .filter(({ state, hold, transfer }) => state === 'live' && hold === 'all' && transfer)
      .sort((a, b) => rank(a) - rank(b) || isLast(a) - isLast(b))
  }
}

const readyAndRoomy: Rank = ({ beat }) => (beat?.ready ? 0 : 2) + (beat?.disk === 'ok' ? 0 : 1)

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
