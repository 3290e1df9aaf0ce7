import type { Readable } from 'node:stream'
import type { Digest } from '../../digest.ts'
import type { Urgency } from '../schedule/messages.ts'

/** Messages to the neighbours, each whole, and in order as long as a channel lasts. */
export interface Channel {
  /**
   * Whether it was taken. When it was not, the channel is made anew: `down` and `up` are told, and
   * the two sides begin with fresh hellos.
   */
  send(peer: string, message: Uint8Array): boolean
}

/** A piece that came, or why it did not. */
export type Fetched =
  /** `hash` is the SHA-256 of the bytes, which nobody may look at after `release`. */
  | { readonly kind: 'arrived'; bytes: Uint8Array; hash: Uint8Array; release(): void }
  | { readonly kind: 'busy'; readonly retryMs: number }
  /** The neighbour takes no part in this blob. */
  | { readonly kind: 'unknown' }
  | { readonly kind: 'failed'; readonly error: unknown }

export interface FetchOptions {
  readonly urgency: Urgency
  /** A piece is never longer. */
  readonly maxBytes: number
  /** Hangs up, which tells the neighbour not to send. */
  readonly signal: AbortSignal
  /** Called when the first byte comes. */
  readonly onStarted: () => void
}

/** Asks a neighbour for one piece, and waits until it is served. Never throws. */
export type FetchPiece = (
  peer: string,
  key: string,
  piece: number,
  options: FetchOptions
) => Promise<Fetched>

/** A sparse file on its way to become a blob. Any method throws `DISK_FULL` or `DISK_FAILED`. */
export interface PieceFile {
  /** What it holds, with the SHA-256 of each piece. */
  held(): Iterable<readonly [piece: number, hash: Uint8Array]>
  /** Stores a piece, verified by the caller, whose bytes are the caller's again afterwards. */
  write(piece: number, bytes: Uint8Array, hash: Uint8Array): Promise<void>
  /** The bytes of a held piece. */
  read(piece: number): Promise<Buffer>
  /** A file that grew without a known end has one now. */
  setSize(sizeBytes: number): void
  /** Makes it a blob. Throws `DIGEST_INVALID` and keeps everything when some piece is wrong. */
  commit(digest: Digest): Promise<{ readonly sizeBytes: number }>
  drop(piece: number): void
  /** A stream that grows with the pieces, in order; its last bytes come after the commit. */
  follow(range: { sizeBytes: number; start?: number; end?: number }): Readable
  /** Keeps it for another time. */
  close(): Promise<void>
  /** Removes it. */
  discard(): Promise<void>
}

export interface PieceShape {
  readonly pieceBytes: number
  /** `undefined` while nobody knows. */
  readonly sizeBytes: number | undefined
}

/** The files of this node. */
export interface PieceStore {
  stat(digest: Digest): { readonly sizeBytes: number } | undefined
  /** Opens a file of pieces, or goes on with what is left of it from before. */
  open(name: string, shape: PieceShape, signal: AbortSignal): Promise<PieceFile>
  /** Bytes of a blob that is held. Throws `BLOB_UNKNOWN`. */
  readBlob(digest: Digest, start: number, end: number): Promise<Buffer>
  /** Bytes that an upload has taken. Throws when it has ended. */
  readUpload(id: string, start: number, end: number): Promise<Buffer>
  /** Whether there is room for what nobody has asked for yet. */
  hasRoom(): boolean
  /** Somebody says that a blob held here is damaged: it is looked at. */
  suspect(digest: Digest): void
}

/** What a neighbour that asked for a piece gets. */
export type Served =
  | {
      readonly kind: 'serve'
      readonly sizeBytes: number
      /** Gives the bytes. */
      read(): Promise<Buffer>
      /** Ends the answer where it is. */
      readonly stop: AbortSignal
    }
  | { readonly kind: 'busy'; readonly retryMs: number }
  | { readonly kind: 'unknown' }
