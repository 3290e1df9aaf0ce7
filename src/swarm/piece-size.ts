const KiB = 1024
const MiB = 1024 * KiB

/** Below it the cost of a request (about a millisecond of processor) outweighs a sooner relay. */
export const MIN_PIECE_BYTES = 256 * KiB

/** Above it a lost piece and a piece held in memory cost more than the requests saved. */
export const MAX_PIECE_BYTES = 8 * MiB

/** A blob up to this size is one piece; it is fetched whole, many by one request. */
export const SMALL_BLOB_BYTES = MiB

/** Far above what the largest layer has; it bounds the lists that a peer can make us read (2 MiB). */
export const MAX_PIECES = 65_536

/** Each piece is known by its SHA-256. */
export const HASH_BYTES = 32

/**
 * How many pieces a blob is cut into, roughly. The time to reach N nodes is S/B (1 + log2(N)/M)
 * at best, so a thousand nodes lose 2 % at 512 pieces and 8 % at 128 before any other loss.
 */
const AIMED_PIECES = 1024

/**
 * The piece size for a blob, in bytes: a power of two that depends on nothing but the size of the
 * blob, so that every holder derives the same pieces.
 */
export function pieceBytesFor(sizeBytes: number): number {
  if (sizeBytes <= SMALL_BLOB_BYTES) return SMALL_BLOB_BYTES
  let bytes = MIN_PIECE_BYTES
  while (bytes < MAX_PIECE_BYTES && bytes * AIMED_PIECES < sizeBytes) bytes *= 2
  return bytes
}

/** How many pieces a blob has; an empty blob has one, of no bytes. */
export function pieceCountFor(sizeBytes: number, pieceBytes = pieceBytesFor(sizeBytes)): number {
  return Math.max(1, Math.ceil(sizeBytes / pieceBytes))
}
