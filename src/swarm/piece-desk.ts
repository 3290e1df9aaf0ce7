import type { Urgency } from './schedule/messages.ts'
import type { BlobStream } from './send-blob.ts'

/** What a peer asks for: one piece of a blob, or of an upload that still comes in. */
export interface PieceRequest {
  /** Who asks; its certificate is pinned. */
  readonly peer: string
  /** Names the blob in the swarm. */
  readonly key: string
  readonly piece: number
  readonly urgency: Urgency
}

export type PieceAnswer =
  /** Now is its turn; `sent` follows, however it ends. */
  | { readonly kind: 'serve'; readonly sizeBytes: number; readonly body: BlobStream }
  | { readonly kind: 'busy'; readonly retryMs: number }
  | { readonly kind: 'unknown' }

/** Decides which peer gets which piece when. */
export interface PieceDesk {
  /**
   * Settles when the piece may be sent, or it is clear that it may not be. The signal is aborted when
   * the peer does not want it any more, and then the answer is of no use to anybody.
   */
  want(request: PieceRequest, signal: AbortSignal): Promise<PieceAnswer>
  /** A piece to be served has left as a whole, or its sending broke off. */
  sent(request: PieceRequest, whole: boolean): void
}

export const PIECES_PREFIX = '/pieces'

/** A key, a piece and an urgency; no character of a key needs to be escaped. */
export const PIECE_PATH = /^\/pieces\/([A-Za-z0-9:._-]{1,200})\/(\d{1,7})\?urgency=([a-z]{1,20})$/

/** In milliseconds, with a 503; `retry-after` knows only seconds. */
export const RETRY_HEADER = 'starling-retry-ms'
