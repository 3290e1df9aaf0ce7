import { withDeadline } from '../../deadline.ts'
import type { Digest } from '../../digest.ts'
import type { PieceShape } from './ports.ts'

/** Neighbours answer within milliseconds; one that does not is busy, or about to be found dead. */
const ANSWER_MS = 2_000

interface Seek {
  /** Those who have not answered. */
  readonly silent: Set<string>
  readonly settle: (shape: PieceShape | undefined) => void
}

/** Asks around what size a blob has, which says how it is cut. */
export class Seeks {
  readonly #seeks = new Map<string, Seek>()

  /**
   * Settles with what the first neighbour says that knows of the blob; `undefined` when none does,
   * or the time is over.
   */
  find(
    digest: Digest,
    peers: readonly string[],
    ask: (peer: string) => void,
    signal: AbortSignal
  ): Promise<PieceShape | undefined> {
    if (peers.length === 0) return Promise.resolve(undefined)
    return new Promise(resolve => {
      const over = withDeadline(ANSWER_MS, signal)
      const settle = (shape: PieceShape | undefined) => {
        over.removeEventListener('abort', stop)
        this.#seeks.delete(digest)
        resolve(shape)
      }
      const stop = () => settle(undefined)
      over.addEventListener('abort', stop, { once: true })
      this.#seeks.set(digest, { silent: new Set(peers), settle })
      for (const peer of peers) ask(peer)
    })
  }

  /** A neighbour knows of a blob. */
  hear(key: string, shape: PieceShape): void {
    if (shape.sizeBytes !== undefined) this.#seeks.get(key)?.settle(shape)
  }

  /** A neighbour does not know of a blob, or went away; of any blob when the key is undefined. */
  miss(peer: string, key?: string): void {
    for (const [each, seek] of [...this.#seeks]) {
      if (key !== undefined && key !== each) continue
      if (seek.silent.delete(peer) && seek.silent.size === 0) seek.settle(undefined)
    }
  }

  close(): void {
    for (const seek of [...this.#seeks.values()]) seek.settle(undefined)
  }
}
