import { createHash } from 'node:crypto'
import { MAX_PIECE_BYTES, MIN_PIECE_BYTES, pieceCountFor, pieceRange } from '../piece-size.ts'

/** Of a SHA-256. */
export const HASH_BYTES = 32

/** Far above the largest layer; it bounds the list that a peer can make us read (2 MiB). */
export const MAX_PIECES = 65_536

/**
 * The sha256 of each piece of a blob. Whoever holds the blob can compute it, so that the lists of
 * two holders can be compared; it is trusted only as far as the digest of the whole then agrees.
 */
export interface PieceList {
  readonly sizeBytes: number
  readonly pieceBytes: number
  /** 32 bytes for each piece, in order. */
  readonly hashes: Uint8Array
}

/** Reads a list that a peer sent; `undefined` when it cannot be one. */
export function tryPieceList({ sizeBytes, pieceBytes, hashes }: PieceList): PieceList | undefined {
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) return undefined
  if (pieceBytes < MIN_PIECE_BYTES || pieceBytes > MAX_PIECE_BYTES) return undefined
  if (!Number.isInteger(Math.log2(pieceBytes))) return undefined
  const pieces = pieceCountFor(sizeBytes, pieceBytes)
  if (pieces > MAX_PIECES || hashes.length !== pieces * HASH_BYTES) return undefined
  return { sizeBytes, pieceBytes, hashes }
}

/** The list of a blob from the hashes of its pieces, as a holder computes them. */
export function makePieceList(
  sizeBytes: number,
  pieceBytes: number,
  pieceHashes: readonly Uint8Array[]
): PieceList {
  const list = tryPieceList({ sizeBytes, pieceBytes, hashes: Buffer.concat(pieceHashes) })
  if (list === undefined)
    throw new RangeError(`${pieceHashes.length} hashes for ${sizeBytes} bytes`)
  return list
}

/** The hash of one piece's bytes, for a list. */
export function hashPiece(bytes: Uint8Array): Uint8Array {
  return createHash('sha256').update(bytes).digest()
}

/** Whether these bytes are that piece of the blob, as far as the list tells the truth. */
export function isPiece(list: PieceList, piece: number, bytes: Uint8Array): boolean {
  return isPieceHash(list, piece, bytes.length, hashPiece(bytes))
}

/** The same of bytes that were hashed as they came in. */
export function isPieceHash(
  list: PieceList,
  piece: number,
  sizeBytes: number,
  hash: Uint8Array
): boolean {
  const { start, end } = pieceRange(list.sizeBytes, piece, list.pieceBytes)
  const expected = list.hashes.subarray(piece * HASH_BYTES, (piece + 1) * HASH_BYTES)
  return sizeBytes === end - start && Buffer.compare(hash, expected) === 0
}

/** A name for the list itself, in hex: equal for all honest holders of one blob. */
export function listRoot({ sizeBytes, pieceBytes, hashes }: PieceList): string {
  return createHash('sha256').update(`${sizeBytes} ${pieceBytes}\n`).update(hashes).digest('hex')
}

/**
 * Which pieces two lists of one blob tell apart, for finding what a liar changed; all of them when
 * the lists are not even cut alike.
 */
export function differences(a: PieceList, b: PieceList): number[] {
  const pieces = a.hashes.length / HASH_BYTES
  const alike = a.sizeBytes === b.sizeBytes && a.pieceBytes === b.pieceBytes
  return Array.from({ length: pieces }, (_, piece) => piece).filter(piece => {
    const [start, end] = [piece * HASH_BYTES, (piece + 1) * HASH_BYTES]
    return !alike || Buffer.compare(a.hashes.subarray(start, end), b.hashes.subarray(start, end))
  })
}
