import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { StarlingError } from '../errors.ts'
import { BUCKETS, type Root } from './fingerprint.ts'
import { MAX_RECORD_BYTES } from './record.ts'

/** What a reconciling node asks; each is answered by one {@link Answer}. */
export type Request =
  /** Are we equal? If not, in which buckets do we differ? */
  | { readonly kind: 'compare'; readonly root: Root }
  /** The ids of these buckets that follow `after`; both ascending. */
  | {
      readonly kind: 'list'
      readonly buckets: readonly number[]
      readonly after: Uint8Array | undefined
    }
  | { readonly kind: 'get'; readonly ids: readonly Uint8Array[] }
  | { readonly kind: 'put'; readonly records: readonly Uint8Array[] }

export type Answer =
  | { readonly kind: 'equal' }
  | { readonly kind: 'buckets'; readonly hashes: readonly string[] }
  | { readonly kind: 'ids'; readonly ids: readonly Uint8Array[]; readonly more: boolean }
  /** Those asked for that are known. */
  | { readonly kind: 'records'; readonly records: readonly Uint8Array[] }
  | { readonly kind: 'applied'; readonly applied: number; readonly invalid: number }

/** No request and no answer is larger. */
export const MAX_FRAME_BYTES = 1024 * 1024
/** Ids in one frame: half a mebibyte. */
export const MAX_IDS = 16_384

const ID_BYTES = 32
const HASH_BYTES = 16

export function encodeRequest(request: Request): Uint8Array {
  switch (request.kind) {
    case 'compare':
      return frame(['compare', request.root.count, Buffer.from(request.root.hash, 'hex')])
    case 'list':
      return frame(['list', Uint8Array.from(request.buckets), request.after ?? null])
    case 'get':
      return frame(['get', Buffer.concat(request.ids)])
    case 'put':
      return frame(['put', request.records])
  }
}

/** Throws `PEER_FAILED` when it is not a request. */
export function decodeRequest(bytes: Uint8Array): Request {
  const [kind, first, second] = fields(bytes)
  if (kind === 'compare') return { kind, root: { count: count(first), hash: hex(second) } }
  if (kind === 'list') {
    return { kind, buckets: bucketsIn(first), after: second === null ? undefined : idIn(second) }
  }
  if (kind === 'get') return { kind, ids: idsIn(first) }
  if (kind === 'put') return { kind, records: recordsIn(first) }
  throw malformed()
}

export function encodeAnswer(answer: Answer): Uint8Array {
  switch (answer.kind) {
    case 'equal':
      return frame(['equal'])
    case 'buckets':
      return frame(['buckets', Buffer.from(answer.hashes.join(''), 'hex')])
    case 'ids':
      return frame(['ids', Buffer.concat(answer.ids), answer.more])
    case 'records':
      return frame(['records', answer.records])
    case 'applied':
      return frame(['applied', answer.applied, answer.invalid])
  }
}

/** Throws `PEER_FAILED` when it is not an answer. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  const [kind, first, second] = fields(bytes)
  if (kind === 'equal') return { kind }
  if (kind === 'buckets') return { kind, hashes: split(first, HASH_BYTES, BUCKETS).map(toHex) }
  if (kind === 'ids') return { kind, ids: idsIn(first), more: second === true }
  if (kind === 'records') return { kind, records: recordsIn(first) }
  if (kind === 'applied') return { kind, applied: count(first), invalid: count(second) }
  throw malformed()
}

function frame(content: readonly unknown[]): Uint8Array {
  return encode(content, rfc8949EncodeOptions)
}

function fields(bytes: Uint8Array): unknown[] {
  if (bytes.length > MAX_FRAME_BYTES) throw malformed()
  let content: unknown
  try {
    content = decode(bytes, { allowIndefinite: false, useMaps: true })
  } catch (cause) {
    throw malformed(cause)
  }
  if (!Array.isArray(content)) throw malformed()
  return content
}

function count(value: unknown): number {
  if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value)
  throw malformed()
}

function bucketsIn(value: unknown): number[] {
  const buckets = split(value, 1, BUCKETS).map(([bucket]) => bucket ?? 0)
  if (buckets.every((bucket, i) => i === 0 || bucket > (buckets[i - 1] ?? 0))) return buckets
  throw malformed()
}

function hex(value: unknown): string {
  const [hash] = split(value, HASH_BYTES, 1)
  if (hash !== undefined) return toHex(hash)
  throw malformed()
}

function idIn(value: unknown): Uint8Array {
  const [id] = split(value, ID_BYTES, 1)
  if (id !== undefined) return id
  throw malformed()
}

function idsIn(value: unknown): Uint8Array[] {
  return split(value, ID_BYTES, MAX_IDS)
}

function recordsIn(value: unknown): Uint8Array[] {
  const sound = Array.isArray(value) && value.every(isRecordSized)
  if (sound) return value
  throw malformed()
}

function isRecordSized(value: unknown): boolean {
  return value instanceof Uint8Array && value.length <= MAX_RECORD_BYTES
}

function split(value: unknown, size: number, most: number): Uint8Array[] {
  if (!(value instanceof Uint8Array)) throw malformed()
  if (value.length % size !== 0 || value.length > size * most) throw malformed()
  const count = value.length / size
  return Array.from({ length: count }, (_, i) => value.subarray(i * size, (i + 1) * size))
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex')
}

function malformed(cause?: unknown): StarlingError {
  return new StarlingError('PEER_FAILED', 'a reconciliation message that makes no sense', { cause })
}
