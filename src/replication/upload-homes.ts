import { StarlingError } from '../errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Relay, RelayedAnswer, RelayedRequest } from '../swarm/relay.ts'
import { whileLive } from './live-peer.ts'

export interface UploadHomesOptions {
  readonly mesh: Pick<Mesh, 'id' | 'peers' | 'on'>
  readonly relay: Pick<Relay, 'send'>
  /** Whether this node has known the whole cluster since it started. */
  readonly hasCaughtUp: () => boolean
}

/**
 * Finds the node that has an upload, for requests that reach another one behind an address that
 * spreads connections over all (design section 5).
 */
export class UploadHomes {
  /** What stands for this node in the ids of its uploads. */
  readonly here: string
  readonly #options: UploadHomesOptions

  constructor(options: UploadHomesOptions) {
    this.#options = options
    this.here = markOf(options.mesh.id)
  }

  /**
   * Passes a request on to the node that a mark stands for, and gives its answer; `undefined` when
   * no such node is live. Throws `UNAVAILABLE`, `PEER_FAILED` or `PEER_REFUSED` when it is live and
   * does not answer, or may be live for all that this node knows yet; and as `Relay.send` does.
   */
  async forward(
    mark: string,
    request: RelayedRequest,
    signal: AbortSignal
  ): Promise<RelayedAnswer | undefined> {
    const { mesh, relay, hasCaughtUp } = this.#options
    const peer = mesh.peers().find(({ id }) => markOf(id) === mark)
    if (peer?.state !== 'live') {
      if (hasCaughtUp()) return undefined
      throw new StarlingError('UNAVAILABLE', 'this node does not know yet who is there')
    }
    const { id, name, transfer } = peer
    if (transfer === undefined) {
      throw new StarlingError(
        'UNAVAILABLE',
        'the node with this upload cannot be reached from here'
      )
    }
    const live = whileLive(mesh, peer, signal)
    try {
      return await relay.send({ id, name, ...transfer }, request, live.signal)
    } finally {
      live.release()
    }
  }
}

/** The end of an Ed25519 peer id has 70 bits of the key, in letters and digits. */
const MARK_LENGTH = 12

/**
 * Short, for it is in every id of an upload, and harmless: all that another text in its place can
 * do is to name no live member, and then the upload is unknown.
 */
function markOf(peer: string): string {
  return peer.slice(-MARK_LENGTH)
}
