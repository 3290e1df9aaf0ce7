import type { Digest } from '../digest.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Holder } from '../swarm/fetcher.ts'
import type { Sightings } from './sightings.ts'
import {
  decodeHave,
  decodeSizes,
  encodeHave,
  encodeSizes,
  HAVE_PROTOCOL,
  MAX_HAVE_BYTES,
  MAX_HAVE_DIGESTS
} from './wire.ts'

/** What the live members said of some blobs. */
export interface Located {
  /** The sizes of the blobs that at least one of them holds. */
  readonly held: ReadonlyMap<Digest, number>
  /** Members that did not answer in time, so that absence elsewhere proves nothing. */
  readonly silent: readonly string[]
}

/** Finds out which other nodes hold a blob. */
export class Locator {
  readonly #mesh: Pick<Mesh, 'peers' | 'request'>
  readonly #sightings: Sightings

  constructor(options: {
    mesh: Pick<Mesh, 'peers' | 'request' | 'handle'>
    blobs: Pick<Blobs, 'stat'>
    sightings: Sightings
  }) {
    this.#mesh = options.mesh
    this.#sightings = options.sightings
    options.mesh.handle(HAVE_PROTOCOL, MAX_HAVE_BYTES, async (_peer, request) =>
      encodeSizes(decodeHave(request).map(digest => options.blobs.stat(digest)?.sizeBytes ?? -1))
    )
  }

  /**
   * The peers to ask for a blob, in groups of equals, best first: those heard to hold it, those
   * whose last summary does not list it as missing, the rest.
   */
  candidates(digest: Digest): Holder[][] {
    const groups: Holder[][] = [[], [], [], []]
    for (const peer of this.#givers()) {
      if (peer.transfer === undefined) continue
      const { id, name, transfer } = peer
      groups[this.#rank(peer, digest)]?.push({ id, name, ...transfer })
    }
    return groups
  }

  /** Asks every connected live member which of the blobs it holds. */
  async locate(digests: readonly Digest[], timeoutMs: number): Promise<Located> {
    const held = new Map<Digest, number>()
    const silent: string[] = []
    const signal = AbortSignal.timeout(timeoutMs)
    await Promise.all(
      this.#givers().map(async ({ id }) => {
        try {
          for (let at = 0; at < digests.length; at += MAX_HAVE_DIGESTS) {
            const batch = digests.slice(at, at + MAX_HAVE_DIGESTS)
            const answer = await this.#mesh.request(id, HAVE_PROTOCOL, encodeHave(batch), {
              signal,
              maxBytes: MAX_HAVE_BYTES
            })
            for (const [index, sizeBytes] of decodeSizes(answer, batch.length).entries()) {
              const digest = batch[index]
              if (digest === undefined) continue
              if (sizeBytes < 0) {
                this.#sightings.remove(id, digest)
              } else {
                held.set(digest, sizeBytes)
                this.#sightings.add(id, digest)
              }
            }
          }
        } catch {
          silent.push(id)
        }
      })
    )
    return { held, silent }
  }

  #givers(): PeerView[] {
    return this.#mesh.peers().filter(peer => peer.connected && peer.hold === 'all')
  }

  #rank(peer: PeerView, digest: Digest): number {
    if (this.#sightings.has(peer.id, digest)) return 0
    if (peer.beat === undefined) return 2
    const { missing, missingCount } = peer.beat
    if (missing.includes(digest)) return 3
    return missingCount > missing.length ? 2 : 1
  }
}
