import { StarlingError } from '../errors.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'

/** A signal for what waits for a peer, and how to stop minding it. */
export interface LivePeerSignal {
  readonly signal: AbortSignal
  release(): void
}

/** A signal that also aborts, with `PEER_FAILED`, when the peer is not heard any more. */
export function whileLive(
  mesh: Pick<Mesh, 'on'>,
  { id, name }: Pick<PeerView, 'id' | 'name'>,
  signal: AbortSignal
): LivePeerSignal {
  const away = new AbortController()
  const release = mesh.on('away', gone => {
    if (gone === id) away.abort(new StarlingError('PEER_FAILED', `${name} is not heard any more`))
  })
  return { signal: AbortSignal.any([signal, away.signal]), release }
}
