import type { FetchedPiece } from '../piece-fetcher.ts'
import type { Event, PieceOf, Urgency } from '../schedule/messages.ts'
import { type Part, pieceLengthOf } from './part.ts'
import type { FetchPiece } from './ports.ts'

export interface TakerOptions {
  readonly fetchPiece: FetchPiece
  readonly partOf: (key: string) => Part | undefined
  readonly tell: (event: Event) => void
  /** A piece could not be stored. */
  readonly onFailed: (part: Part, error: unknown) => void
  readonly onTaken: (part: Part, of: PieceOf, bytes: number) => void
  /** Bytes that had come by then in vain. */
  readonly onWasted: (bytes: number) => void
}

/** Fetches the pieces that the scheduler wants, and verifies each before it is stored. */
export class Taker {
  readonly #options: TakerOptions
  readonly #running = new Map<string, AbortController>()

  constructor(options: TakerOptions) {
    this.#options = options
  }

  want(of: PieceOf & { readonly urgency: Urgency }): void {
    const id = idOf(of)
    this.#running.get(id)?.abort()
    const cancelling = new AbortController()
    this.#running.set(id, cancelling)
    void this.#fetch(of, cancelling.signal).finally(() => {
      if (this.#running.get(id) === cancelling) this.#running.delete(id)
    })
  }

  cancel(of: PieceOf): void {
    const id = idOf(of)
    this.#running.get(id)?.abort()
    this.#running.delete(id)
  }

  close(): void {
    for (const cancelling of this.#running.values()) cancelling.abort()
    this.#running.clear()
  }

  async #fetch(of: PieceOf & { readonly urgency: Urgency }, signal: AbortSignal): Promise<void> {
    const { fetchPiece, partOf, tell } = this.#options
    const { peer, blob, piece, urgency } = of
    const part = partOf(blob)
    if (part === undefined) return
    if (isRefused(part, peer, piece)) {
      tell({ kind: 'failed', peer, blob, piece })
      return
    }
    const fetched = await fetchPiece(peer, {
      ...{ key: blob, piece, urgency, maxBytes: part.pieceBytes, signal },
      onStarted: () => {
        if (!signal.aborted) tell({ kind: 'started', peer, blob, piece })
      }
    })
    if (fetched.kind === 'arrived') await this.#take(part, of, fetched, signal)
    else if (signal.aborted) return
    else if (fetched.kind === 'busy') {
      tell({ kind: 'busy', peer, blob, piece, retryMs: fetched.retryMs })
    } else if (fetched.kind === 'unknown') tell({ kind: 'leave', peer, blob })
    else tell({ kind: 'failed', peer, blob, piece })
  }

  /** What came though it was cancelled is as good as any, unless another was quicker. */
  async #take(
    part: Part,
    of: PieceOf,
    { bytes, hash, release }: Extract<FetchedPiece, { kind: 'arrived' }>,
    signal: AbortSignal
  ): Promise<void> {
    const { tell, onFailed, onTaken, onWasted } = this.#options
    const { peer, blob, piece } = of
    try {
      if (part.state !== 'open' || part.claims.heldHash(piece) !== undefined) {
        onWasted(bytes.length)
        if (part.state !== 'over') tell({ kind: 'arrived', peer, blob, piece })
        return
      }
      const said = part.claims.of(peer, piece)
      if (bytes.length !== pieceLengthOf(part, piece) || said === undefined) {
        // Cut by what is not known here yet, or announced before a claim was withdrawn.
        onWasted(bytes.length)
        if (!signal.aborted) tell({ kind: 'failed', peer, blob, piece })
        return
      }
      if (Buffer.compare(said, hash) !== 0) {
        onWasted(bytes.length)
        if (!signal.aborted) tell({ kind: 'wrong', peer, blob, piece })
        return
      }
      if (part.source.kind !== 'file') return
      await part.source.file.write(piece, bytes, hash)
      part.claims.hold(piece, hash)
      onTaken(part, of, bytes.length)
      tell({ kind: 'arrived', peer, blob, piece })
    } catch (error) {
      onFailed(part, error)
    } finally {
      release()
    }
  }
}

/** It says of the piece what made another blob. */
function isRefused({ claims, refused }: Part, peer: string, piece: number): boolean {
  const [said, wrong] = [claims.of(peer, piece), refused.get(piece)]
  return said !== undefined && wrong !== undefined && Buffer.compare(said, wrong) === 0
}

function idOf({ peer, blob, piece }: PieceOf): string {
  return `${peer} ${blob} ${piece}`
}
