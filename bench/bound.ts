const MiB = 1024 * 1024

/**
 * The least time in which one node can give bytes in pieces to others over equal links, in seconds:
 * S/B (1 + floor(log2 N)/M), Mundinger, Weber, Weiss, arXiv cs/0606110.
 */
export function boundOf(
  sizeBytes: number,
  pieceBytes: number,
  receivers: number,
  bytesPerSecond: number
): number {
  const pieces = Math.max(1, Math.ceil(sizeBytes / pieceBytes))
  return (sizeBytes / bytesPerSecond) * (1 + Math.floor(Math.log2(receivers)) / pieces)
}

/** The pieces of a bound that is reported, whatever pieces are used, so that runs compare. */
export function agreedPieceBytes(blobBytes: number): number {
  return blobBytes <= 64 * MiB ? MiB : 4 * MiB
}
