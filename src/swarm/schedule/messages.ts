import type { Bits } from './bits.ts'

/**
 * How urgent a blob is, the most urgent first: a client waits for it; another node waits for this
 * one to hold it, since its image has fewer copies than it is to have; it is missing.
 */
export const URGENCIES = ['awaited', 'repair', 'background'] as const
export type Urgency = (typeof URGENCIES)[number]

/** One piece between this node and a neighbour. */
export interface PieceOf {
  readonly peer: string
  readonly blob: string
  readonly piece: number
}

/** What is told to a scheduler. Those of the first block come from a neighbour's scheduler. */
export type Event =
  /** The neighbour takes part in this blob and has these pieces; `reply` asks for ours. */
  | { readonly kind: 'hello'; peer: string; blob: string; held: Bits; reply: boolean }
  | { readonly kind: 'have'; peer: string; blob: string; pieces: readonly number[] }
  /** These pieces are for us to fetch from this neighbour first, and to pass on. */
  | { readonly kind: 'offer'; peer: string; blob: string; pieces: readonly number[] }
  /** The neighbour takes no part in this blob any more. */
  | { readonly kind: 'leave'; peer: string; blob: string }
  | ({ readonly kind: 'want'; urgency: Urgency } & PieceOf)
  | ({ readonly kind: 'cancel' } & PieceOf)
  | ({ readonly kind: 'busy'; retryMs: number } & PieceOf)
  /** A neighbour of the overlay can be spoken to, or no longer. */
  | { readonly kind: 'peer-up'; peer: string }
  | { readonly kind: 'peer-down'; peer: string }
  /** A blob to fetch, of which these pieces are here already; earlier `order` finishes first. */
  | ({ readonly kind: 'fetch'; urgency: Urgency; order: number } & BlobStart)
  /** A blob that is or comes to be here by a push: pieces not held follow as `local`. */
  | ({ readonly kind: 'ingest' } & BlobStart)
  /** A piece of a push is on disk. */
  | { readonly kind: 'local'; blob: string; piece: number }
  /** A client now waits for this blob and has got everything before `cursor`, a piece. */
  | { readonly kind: 'await'; blob: string; cursor: number }
  /** A blob is as urgent as this now, if it was less so. */
  | { readonly kind: 'urge'; blob: string; urgency: Urgency }
  /**
   * A blob that was begun with more pieces than it could have, since its push had not ended, has
   * this many.
   */
  | { readonly kind: 'sized'; blob: string; sizeBytes: number; pieceCount: number }
  /** These pieces are not here after all: they were not those of the blob. */
  | { readonly kind: 'lost'; blob: string; pieces: readonly number[] }
  /** A neighbour was found to give a wrong list of pieces: it is asked for nothing for a while. */
  | { readonly kind: 'lied'; peer: string }
  /** The blob takes no part any more: its push died, or everyone has it. */
  | { readonly kind: 'drop'; blob: string }
  /** A piece begins to come in; it came in, verified and stored; it was wrong; it broke off. */
  | ({ readonly kind: 'started' } & PieceOf)
  | ({ readonly kind: 'arrived' } & PieceOf)
  | ({ readonly kind: 'wrong' } & PieceOf)
  | ({ readonly kind: 'failed' } & PieceOf)
  /** A piece we served has left, or its sending broke off. */
  | ({ readonly kind: 'sent' } & PieceOf)
  /** The moment asked for by a `wake` has come. */
  | { readonly kind: 'tick' }

export interface BlobStart {
  readonly blob: string
  /** An upper bound while a push streams in; `sized` follows. */
  readonly sizeBytes: number
  readonly pieceBytes: number
  readonly pieceCount: number
  readonly held: Bits
}

/** What a scheduler wants done. Those of the first block go to the neighbour as the like event. */
export type Effect =
  | { readonly kind: 'hello'; peer: string; blob: string; held: Bits; reply: boolean }
  | { readonly kind: 'have'; peer: string; blob: string; pieces: readonly number[] }
  | { readonly kind: 'offer'; peer: string; blob: string; pieces: readonly number[] }
  | ({ readonly kind: 'want'; urgency: Urgency } & PieceOf)
  | ({ readonly kind: 'cancel' } & PieceOf)
  | ({ readonly kind: 'busy'; retryMs: number } & PieceOf)
  /** Send this piece now; `sent` answers. */
  | ({ readonly kind: 'serve' } & PieceOf)
  /** Stop sending this piece, as far as it has not left; `sent` does not follow. */
  | ({ readonly kind: 'stop' } & PieceOf)
  /** Tell the neighbour that its piece was wrong, so that it looks at its disk, and log it. */
  | ({ readonly kind: 'complain'; asideMs: number } & PieceOf)
  /** All pieces are here: the whole digest is to be verified. */
  | { readonly kind: 'complete'; blob: string }
  /** Step with `tick` at this moment; an earlier one stands. */
  | { readonly kind: 'wake'; atMs: number }
