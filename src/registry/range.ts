/** What a `Range` header asks of some bytes. `start` is included, `end` is not. */
export type RangeRequest =
  | { readonly kind: 'whole' }
  | { readonly kind: 'part'; readonly start: number; readonly end: number }
  | { readonly kind: 'unsatisfiable' }

const WHOLE: RangeRequest = { kind: 'whole' }
const UNSATISFIABLE: RangeRequest = { kind: 'unsatisfiable' }

/**
 * Reads a `Range` header (RFC 9110 section 14). Other units than bytes are ignored, as the RFC asks.
 * Several ranges in one header give the whole: `skopeo` asks so for parts of zstd:chunked layers
 * and takes 200 for "not supported", while a 416 would end its pull.
 */
export function parseRange(header: string | undefined, sizeBytes: number): RangeRequest {
  const ranges = header?.match(/^\s*bytes\s*=(.*)$/i)?.[1]
  if (ranges === undefined || ranges.includes(',')) return WHOLE
  const [, first, last] = ranges.match(/^\s*(\d*)\s*-\s*(\d*)\s*$/) ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) {
    return UNSATISFIABLE
  }
  const [start, end] =
    first === ''
      ? [Math.max(0, sizeBytes - Number(last)), sizeBytes]
      : [Number(first), last === '' ? sizeBytes : Math.min(Number(last) + 1, sizeBytes)]
  return start < end && start < sizeBytes ? { kind: 'part', start, end } : UNSATISFIABLE
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
