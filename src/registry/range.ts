/** A part of some bytes: `start` is included, `end` is not. */
export interface Extent {
  readonly start: number
  readonly end: number
}

/** What a `Range` header asks of some bytes. */
export type RangeRequest =
  | { readonly kind: 'whole' }
  | ({ readonly kind: 'part' } & Extent)
  /** Two or more parts that do not overlap, in the order asked for unless some did. */
  | { readonly kind: 'parts'; readonly extents: readonly Extent[] }
  | { readonly kind: 'unsatisfiable' }

const WHOLE: RangeRequest = { kind: 'whole' }
const UNSATISFIABLE: RangeRequest = { kind: 'unsatisfiable' }

/**
 * More parts than anybody needs of one blob at a time; each costs a header and an opened file. Who
 * asks for more gets the whole, as RFC 9110 section 14.2 allows and advises.
 */
const MAX_RANGES = 256

/**
 * Reads a `Range` header (RFC 9110 section 14). Other units than bytes are ignored, as the RFC asks.
 * Of several ranges those beyond the end are left out, and those that overlap are joined. Ranges
 * side by side are not: `skopeo`, which pulls zstd:chunked layers in pieces, counts the parts.
 */
export function parseRange(header: string | undefined, sizeBytes: number): RangeRequest {
  const texts = header?.match(/^\s*bytes\s*=(.*)$/i)?.[1]?.split(',')
  if (texts === undefined || texts.length > MAX_RANGES) return WHOLE
  const extents: Extent[] = []
  for (const text of texts) {
    const extent = parseExtent(text, sizeBytes)
    // A list with a part that is no range is no list of ranges.
    if (extent === 'malformed') return UNSATISFIABLE
    if (extent !== undefined) extents.push(extent)
  }
  const [first, ...more] = joinOverlaps(extents)
  if (first === undefined) return UNSATISFIABLE
  return more.length === 0
    ? { kind: 'part', ...first }
    : { kind: 'parts', extents: [first, ...more] }
}

/** `undefined`: well-formed, and nothing of it is there. */
function parseExtent(text: string, sizeBytes: number): Extent | undefined | 'malformed' {
  const [, first, last] = text.match(/^\s*(\d*)\s*-\s*(\d*)\s*$/) ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) {
    return 'malformed'
  }
  const [start, end] =
    first === ''
      ? [Math.max(0, sizeBytes - Number(last)), sizeBytes]
      : [Number(first), last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes)]
  return start < end && start < sizeBytes ? { start, end } : undefined
}

/** Overlaps make an answer larger than the blob, so nobody gets them. */
function joinOverlaps(extents: readonly Extent[]): readonly Extent[] {
  const sorted = extents.toSorted((a, b) => a.start - b.start)
  const joined: Extent[] = []
  for (const extent of sorted) {
    const before = joined.at(-1)
    if (before === undefined || extent.start >= before.end) joined.push(extent)
    else joined.splice(-1, 1, { start: before.start, end: Math.max(before.end, extent.end) })
  }
  return joined.length === extents.length ? extents : joined
}

/**
 * Reads the `Content-Range` of an upload's chunk: `first-last`, both included and without a unit
 * (OCI distribution-spec, "Pushing a blob in chunks"), which differs from RFC 9110.
 *
 * @returns `undefined` when it is malformed
 */
export function parseChunkRange(
  header: string
): { readonly start: number; readonly lengthBytes: number } | undefined {
  const [, first, last] = header.match(/^(\d{1,15})-(\d{1,15})$/) ?? []
  if (first === undefined || last === undefined) return undefined
  const start = Number(first)
  const lengthBytes = Number(last) - start + 1
  return lengthBytes < 1 ? undefined : { start, lengthBytes }
}
