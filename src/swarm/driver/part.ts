import { createHash } from 'node:crypto'
import type { Digest } from '../../digest.ts'
import { MAX_PIECES, pieceCountFor } from '../piece-size.ts'
import type { BlobStream } from '../send-blob.ts'
import type { Claims } from './claims.ts'
import type { Name } from './message.ts'
import type { PieceFile, PieceStore } from './ports.ts'

/** Where the pieces are that this node has of a blob. */
export type Source =
  | { readonly kind: 'upload'; readonly id: string }
  | { readonly kind: 'file'; readonly file: PieceFile }
  | { readonly kind: 'blob'; readonly digest: Digest }

/** What became of a blob that was to come. */
export type Ending =
  | { readonly kind: 'held' }
  /** The neighbours cannot give it. */
  | {
      readonly kind: 'given-up'
      readonly why: 'nobody' | 'small' | 'stalled' | 'wrong' | 'dropped'
    }
  /** This node cannot take it. */
  | { readonly kind: 'failed'; readonly error: unknown }

/** The part that this node plays in spreading one blob, beside what its scheduler knows of it. */
export interface Part {
  readonly key: string
  /** The node that takes the push, when that had not ended as the part began. */
  readonly origin: string | undefined
  readonly pieceBytes: number
  /** Unknown while the push streams in. */
  sizeBytes: number | undefined
  /** What it is, once that is known. */
  name: Name | undefined
  readonly claims: Claims
  source: Source
  state: 'open' | 'verifying' | 'whole' | 'over'
  /** Whose word on this blob is not heard, being suspected of a wrong list; the last is the suspect. */
  suspects: readonly string[]
  /** What the suspect said of pieces: nobody is believed who says the same. */
  refused: ReadonlyMap<number, Uint8Array>
  readonly startedMs: number
  /** When it last got on, or was of use. */
  usedMs: number
  /** Bytes that are here; of a push, those up to the first that is not. */
  doneBytes: number
  /** Of a push here, how many bytes each neighbour says that it has. */
  readonly taken: Map<string, number>
  /** Of a push elsewhere, what its origin was told last of that, and when. */
  told: { readonly bytes: number; readonly atMs: number }
  /** Those who gave pieces. */
  readonly from: Set<string>
  /** Neighbours that do not fetch the blob themselves: what they say of it is not hearsay. */
  readonly holders: Set<string>
  /** Whether pieces of it were here when it began. */
  isResumed: boolean
  readonly ended: PromiseWithResolvers<Ending>
}

/** How many pieces it has, or may have while nobody knows. */
export function pieceCountOf({ sizeBytes, pieceBytes }: Part): number {
  return sizeBytes === undefined ? MAX_PIECES : pieceCountFor(sizeBytes, pieceBytes)
}

/** How long a piece is; the last of a blob of unknown size is taken for a whole one. */
export function pieceLengthOf({ sizeBytes, pieceBytes }: Part, piece: number): number {
  if (sizeBytes === undefined) return pieceBytes
  return Math.max(0, Math.min(pieceBytes, sizeBytes - piece * pieceBytes))
}

/** The bytes of a piece that is here. Throws when they are not. */
export async function readPiece(part: Part, piece: number, store: PieceStore): Promise<BlobStream> {
  const { source } = part
  try {
    return await readFrom(source, part, piece, store)
  } catch (error) {
    // It may have become a blob meanwhile.
    if (part.source === source) throw error
    return readFrom(part.source, part, piece, store)
  }
}

function readFrom(
  source: Source,
  part: Part,
  piece: number,
  store: PieceStore
): BlobStream | Promise<BlobStream> {
  const { pieceBytes } = part
  const start = piece * pieceBytes
  const end = start + pieceLengthOf(part, piece)
  switch (source.kind) {
    case 'file':
      return source.file.read(piece)
    case 'blob':
      return store.readBlob(source.digest, start, end)
    case 'upload':
      return store.readUpload(source.id, start, end)
  }
}

/** The hash of a piece that is here, which is read for it. Throws as {@link readPiece}. */
export async function hashOfPiece(part: Part, piece: number, store: PieceStore): Promise<Buffer> {
  const hash = createHash('sha256')
  for await (const chunk of await readPiece(part, piece, store)) hash.update(chunk)
  return hash.digest()
}
