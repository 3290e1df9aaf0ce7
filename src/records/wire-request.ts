import { HASH_BYTES, MAX_DEPTH, type Prefix, type Root } from './fingerprint.ts'
import type { Stamp } from './stamp.ts'
import {
  count,
  fields,
  frame,
  ID_BYTES,
  idsIn,
  MAX_PREFIXES,
  malformed,
  recordsIn,
  split,
  stamp
} from './wire.ts'

/** How far into what a process has applied, see `DeltaLog`. */
export interface Position {
  /** Random, new with each start of the process. */
  readonly epoch: string
  readonly sequence: number
}

/** What a reconciling node asks; each is answered by one `Answer`. */
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

const MAX_EPOCH_LENGTH = 64
const PREFIX = new RegExp(`^[0-9a-f]{0,${MAX_DEPTH}}$`)

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
