import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { StarlingError } from '../errors.ts'
import {
  FANOUT,
  HASH_BYTES,
  MAX_DEPTH,
  type Prefix,
  type Root,
  type Summary
} from './fingerprint.ts'
import type { Terms } from './horizon.ts'
import { MAX_RECORD_BYTES } from './record.ts'
import { isStamp, type Stamp } from './stamp.ts'

/** How far into what a process has applied, see `DeltaLog`. */
export interface Position {
  /** Random, new with each start of the process. */
  readonly epoch: string
  readonly sequence: number
}

/** What a reconciling node asks; each is answered by one {@link Answer}. */
export type Request =
  /** Are we equal? If not, what do the ranges hold that all divides into? */
  | { readonly kind: 'compare'; readonly root: Root }
  /** What do the ranges hold that these divide into? */
  | { readonly kind: 'divide'; readonly prefixes: readonly Prefix[] }
  /** The ids in these ranges that follow `after`; both ascending. */
  | {
      readonly kind: 'list'
      readonly prefixes: readonly Prefix[]
      readonly after: Uint8Array | undefined
    }
  | { readonly kind: 'get'; readonly ids: readonly Uint8Array[] }
  /** The sender stands for the records up to a stamp, see `Standing.vouched`. */
  | {
      readonly kind: 'put'
      readonly records: readonly Uint8Array[]
      readonly vouched: Stamp
    }
  /** Of whom have you had all that lies where you have dropped tombstones? */
  | { readonly kind: 'witnesses' }
  /** What was applied there after this position, and not brought by the one who asks? */
  | { readonly kind: 'since'; readonly position: Position }

export type Answer =
  | { readonly kind: 'equal'; readonly terms: Terms }
  /** {@link FANOUT} summaries for each range asked for; with terms when the answer is to `compare`. */
  | {
      readonly kind: 'summaries'
      readonly summaries: readonly Summary[]
      readonly terms?: Terms | undefined
    }
  | { readonly kind: 'ids'; readonly ids: readonly Uint8Array[]; readonly more: boolean }
  /** Those known of the first `served` ids asked for: as many as fit. */
  | {
      readonly kind: 'records'
      readonly records: readonly Uint8Array[]
      readonly served: number
      readonly vouched: Stamp
    }
  | { readonly kind: 'witnesses'; readonly ids: readonly string[] }
  | { readonly kind: 'applied'; readonly applied: number; readonly invalid: number }
  /** What was applied up to `upTo`; `undefined` when the log does not reach back so far. */
  | {
      readonly kind: 'news'
      readonly records: readonly Uint8Array[]
      readonly upTo: number | undefined
      readonly more: boolean
      readonly vouched: Stamp
    }

/** No request and no answer is larger. */
export const MAX_FRAME_BYTES = 1024 * 1024
/** Ids in one frame: half a mebibyte. */
export const MAX_IDS = 16_384
/** Ranges in one frame: their summaries take 320 bytes each. */
export const MAX_PREFIXES = 1_024

const ID_BYTES = 32
const COUNT_BYTES = 4
const MAX_EPOCH_LENGTH = 64
const PREFIX = new RegExp(`^[0-9a-f]{0,${MAX_DEPTH}}$`)

/*
 * Every message is a CBOR array that begins with its kind. A later version may append fields, which
 * are not looked at here; what must be understood gets another kind, which is refused by name, or
 * another protocol name.
 */

export function encodeRequest(request: Request): Uint8Array {
  switch (request.kind) {
    case 'compare':
      return frame(['compare', request.root.count, Buffer.from(request.root.hash, 'hex')])
    case 'divide':
      return frame(['divide', request.prefixes])
    case 'list':
      return frame(['list', request.prefixes, request.after ?? null])
    case 'get':
      return frame(['get', Buffer.concat(request.ids)])
    case 'put':
      return frame(['put', request.records, request.vouched])
    case 'witnesses':
      return frame(['witnesses'])
    case 'since':
      return frame(['since', request.position.epoch, request.position.sequence])
  }
}

/** Throws `PEER_FAILED` when it is not a request. */
export function decodeRequest(bytes: Uint8Array): Request {
  const [kind, first, second] = fields(bytes)
  switch (kind) {
    case 'compare':
      return { kind, root: { count: count(first), hash: hex(second) } }
    case 'divide':
      return { kind, prefixes: prefixesIn(first, MAX_DEPTH - 1) }
    case 'list': {
      const after = second === null ? undefined : idIn(second)
      return { kind, prefixes: prefixesIn(first, MAX_DEPTH), after }
    }
    case 'get':
      return { kind, ids: idsIn(first) }
    case 'put':
      return { kind, records: recordsIn(first), vouched: stamp(second) }
    case 'witnesses':
      return { kind }
    case 'since':
      return { kind, position: { epoch: epoch(first), sequence: count(second) } }
    default:
      throw malformed()
  }
}

export function encodeAnswer(answer: Answer): Uint8Array {
  switch (answer.kind) {
    case 'equal':
      return frame(['equal', packTerms(answer.terms)])
    case 'summaries':
      return frame([
        'summaries',
        Buffer.concat(answer.summaries.map(packSummary)),
        answer.terms === undefined ? null : packTerms(answer.terms)
      ])
    case 'ids':
      return frame(['ids', Buffer.concat(answer.ids), answer.more])
    case 'records':
      return frame(['records', answer.records, answer.served, answer.vouched])
    case 'witnesses':
      return frame(['witnesses', answer.ids])
    case 'applied':
      return frame(['applied', answer.applied, answer.invalid])
    case 'news':
      return frame(['news', answer.records, answer.upTo ?? null, answer.more, answer.vouched])
  }
}

/** Throws `PEER_FAILED` when it is not an answer. */
export function decodeAnswer(bytes: Uint8Array): Answer {
  const [kind, first, second, third, fourth] = fields(bytes)
  switch (kind) {
    case 'equal':
      return { kind, terms: termsIn(first) }
    case 'summaries': {
      const terms = second === null ? undefined : termsIn(second)
      return { kind, summaries: summariesIn(first), terms }
    }
    case 'ids':
      return { kind, ids: idsIn(first), more: second === true }
    case 'records':
      return {
        kind,
        records: recordsIn(first),
        served: count(second),
        vouched: stamp(third)
      }
    case 'witnesses':
      return { kind, ids: originsIn(first) }
    case 'applied':
      return { kind, applied: count(first), invalid: count(second) }
    case 'news': {
      const upTo = second === null ? undefined : count(second)
      return {
        kind,
        records: recordsIn(first),
        upTo,
        more: third === true,
        vouched: stamp(fourth)
      }
    }
    default:
      throw malformed()
  }
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

function stamp(value: unknown): Stamp {
  if (isStamp(value)) return value
  throw malformed()
}

function packTerms({ dropped, confirmed, forgotten }: Terms): unknown {
  return [dropped, confirmed, forgotten]
}

function termsIn(value: unknown): Terms {
  if (!Array.isArray(value)) throw malformed()
  const [dropped, confirmed, forgotten]: unknown[] = value
  return { dropped: stamp(dropped), confirmed: stamp(confirmed), forgotten: forgotten === true }
}

function originsIn(value: unknown): string[] {
  const sound = Array.isArray(value) && value.every(id => typeof id === 'string')
  if (sound) return value
  throw malformed()
}

function epoch(value: unknown): string {
  if (typeof value === 'string' && value.length <= MAX_EPOCH_LENGTH) return value
  throw malformed()
}

/** Ascending ranges, none within another. */
function prefixesIn(value: unknown, maxDepth: number): Prefix[] {
  if (!Array.isArray(value) || value.length > MAX_PREFIXES) throw malformed()
  for (const [i, prefix] of value.entries()) {
    const before: unknown = value[i - 1]
    if (typeof prefix !== 'string' || prefix.length > maxDepth) throw malformed()
    if (!PREFIX.test(prefix)) throw malformed()
    if (typeof before === 'string' && (prefix <= before || prefix.startsWith(before))) {
      throw malformed()
    }
  }
  return value
}

function packSummary(summary: Summary): Buffer {
  const packed = Buffer.alloc(COUNT_BYTES + HASH_BYTES)
  packed.writeUInt32BE(summary.count)
  summary.hash.copy(packed, COUNT_BYTES)
  return packed
}

function summariesIn(value: unknown): Summary[] {
  const packed = split(value, COUNT_BYTES + HASH_BYTES, MAX_PREFIXES * FANOUT)
  return packed.map(bytes => {
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return { count: buffer.readUInt32BE(), hash: buffer.subarray(COUNT_BYTES) }
  })
}

function hex(value: unknown): string {
  const [hash] = split(value, HASH_BYTES, 1)
  if (hash !== undefined) return Buffer.from(hash).toString('hex')
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
  const parts = value.length / size
  return Array.from({ length: parts }, (_, i) => value.subarray(i * size, (i + 1) * size))
}

function malformed(cause?: unknown): StarlingError {
  return new StarlingError('PEER_FAILED', 'a reconciliation message that makes no sense', { cause })
}
