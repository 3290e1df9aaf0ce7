import type { Readable } from 'node:stream'
import type { Digest } from '../../digest.ts'
import type { FetchedPiece, PieceWish } from '../piece-fetcher.ts'
import type { BlobStream } from '../send-blob.ts'

/** Messages to the neighbours, each whole, and in order as long as a channel lasts. */
export interface Channel {
  /**
   * Whether it was taken. When it was not, the channel is made anew: `down` and `up` are told, and
   * the two sides begin with fresh hellos.
   */
  send(peer: string, message: Uint8Array): boolean
}

/** Asks a neighbour for one piece, and waits until it is served. Never throws. */
export type FetchPiece = (peer: string, wish: PieceWish) => Promise<FetchedPiece>

/** A sparse file on its way to become a blob. Any method throws `DISK_FULL` or `DISK_FAILED`. */
export interface PieceFile {
  /** What it holds, with the SHA-256 of each piece. */
  held(): Iterable<readonly [piece: number, hash: Uint8Array]>
  /** Stores a piece, verified by the caller, whose bytes are the caller's again afterwards. */
  write(piece: number, bytes: Uint8Array, hash: Uint8Array): Promise<void>
  /** The bytes of a held piece. */
  read(piece: number): BlobStream
  /** A file that grew without a known end has one now. */
  setSize(sizeBytes: number): Promise<void>
  /** Makes it a blob. Throws `DIGEST_INVALID` and keeps everything when some piece is wrong. */
  commit(digest: Digest): Promise<{ readonly sizeBytes: number }>
  drop(piece: number): Promise<void>
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
  open(
    name: string,
    shape: PieceShape & { readonly digest: Digest | undefined },
    signal: AbortSignal
  ): Promise<PieceFile>
  /** Whether such a file is left, or open. */
  hasPieces(name: string): Promise<boolean>
  /** Bytes of a blob that is held. Throws `BLOB_UNKNOWN`. */
  readBlob(digest: Digest, start: number, end: number): Promise<BlobStream>
  /** Bytes that an upload has taken. Throws when it has ended. */
  readUpload(id: string, start: number, end: number): BlobStream
  /** Whether there is room for what nobody has asked for yet. */
  hasRoom(): boolean
  /** Somebody says that a blob held here is damaged: it is looked at. */
  suspect(digest: Digest): void
}
