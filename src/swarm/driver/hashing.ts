import { hashOfPiece, type Part, pieceCountOf } from './part.ts'
import type { PieceStore } from './ports.ts'

export interface HashingOptions {
  readonly store: PieceStore
  /** A piece is here, and what it hashes to is known. */
  readonly onPiece: (part: Part, piece: number) => void
  readonly onUnreadable: (part: Part, error: unknown) => void
  /** Whether it is worth the reading: somebody is there to be told. */
  readonly isOfUse: () => boolean
}

/**
 * Hashes the pieces that this node has and nobody has hashed: those of a push as they become
 * complete, read back from the page cache so that the push itself is not slowed, and those of a
 * blob that a neighbour has come to ask for. In order, one at a time for each blob.
 */
export class Hashing {
  readonly #options: HashingOptions
  readonly #next = new WeakMap<Part, number>()
  readonly #running = new Set<Part>()

  constructor(options: HashingOptions) {
    this.#options = options
  }

  /** Goes on as far as there are bytes; to be called when there are more. */
  advance(part: Part): void {
    if (part.source.kind !== 'file' && !this.#running.has(part)) void this.#run(part)
  }

  async #run(part: Part): Promise<void> {
    const { store, onPiece, onUnreadable, isOfUse } = this.#options
    this.#running.add(part)
    try {
      for (;;) {
        const piece = this.#next.get(part) ?? 0
        if (part.state === 'over' || !isHere(part, piece) || !isOfUse()) return
        part.claims.hold(piece, await hashOfPiece(part, piece, store))
        this.#next.set(part, piece + 1)
        onPiece(part, piece)
      }
    } catch (error) {
      onUnreadable(part, error)
    } finally {
      // In the same turn as the last look at what is here, so that no call falls in between.
      this.#running.delete(part)
    }
  }
}

function isHere(part: Part, piece: number): boolean {
  if (part.sizeBytes !== undefined) return piece < pieceCountOf(part)
  return (piece + 1) * part.pieceBytes <= part.doneBytes && piece < pieceCountOf(part)
}
