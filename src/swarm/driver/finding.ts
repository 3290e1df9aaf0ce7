import { withDeadline } from '../../deadline.ts'
import type { Digest } from '../../digest.ts'
import { fileNameOf } from './key.ts'
import type { PieceShape, PieceStore } from './ports.ts'
import type { Seeks } from './seeks.ts'
import type { Talk } from './talk.ts'

/** A neighbour that was just met can be spoken to within a round trip or two. */
export const ARRIVAL_MS = 2_000

/**
 * Where pieces are here, as after a restart: they are lost when the blob comes another way, so it is
 * worth more to wait for neighbours that are slow to come or to answer, and to ask them again.
 */
const PIECES_MS = 8_000
const ASK_AGAIN_MS = 1_000

export interface FindingOptions {
  readonly seeks: Seeks
  readonly talk: Talk
  readonly store: Pick<PieceStore, 'hasPieces'>
  /** The neighbours that can be spoken to. */
  readonly peers: () => readonly string[]
  /** Whether a neighbour is live that cannot be spoken to yet. */
  readonly isExpecting: () => boolean
  /** What is known of a blob without asking, since it is on its way here. */
  readonly known: (digest: Digest) => PieceShape | undefined
  readonly signal: AbortSignal
}

/** Finds out from the neighbours how a blob is cut, also from those who are only just coming. */
export class Finding {
  readonly #options: FindingOptions
  #next = Promise.withResolvers<void>()

  constructor(options: FindingOptions) {
    this.#options = options
  }

  /** A neighbour can be spoken to. */
  arrived(): void {
    this.#next.resolve()
    this.#next = Promise.withResolvers()
  }

  /**
   * Settles with what is known, or a neighbour knows, of a blob; with `undefined` when none does. A
   * neighbour that was just met is waited for, for two seconds; where pieces of the blob are here
   * already so is any that may come, and all are asked again, for eight.
   */
  async find(digest: Digest): Promise<PieceShape | undefined> {
    const { seeks, talk, store, peers, isExpecting, known, signal } = this.#options
    const soon = withDeadline(ARRIVAL_MS, signal)
    const late = withDeadline(PIECES_MS, signal)
    const ask = (peer: string) => talk.seek(peer, digest)
    for (;;) {
      while (isExpecting() && !soon.aborted) await this.#arrival(soon)
      const shape = known(digest) ?? (await seeks.find(digest, peers(), ask, signal))
      if (shape !== undefined || late.aborted) return shape
      if (!(await store.hasPieces(fileNameOf(digest)))) return undefined
      await this.#arrival(withDeadline(ASK_AGAIN_MS, late))
    }
  }

  /** Settles when a neighbour has come, or the time is over. */
  async #arrival(over: AbortSignal): Promise<void> {
    if (over.aborted) return
    const wake = () => this.arrived()
    over.addEventListener('abort', wake, { once: true })
    await this.#next.promise
    over.removeEventListener('abort', wake)
  }
}
