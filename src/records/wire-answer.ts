import { FANOUT, HASH_BYTES, type Summary } from './fingerprint.ts'
import type { Terms } from './horizon.ts'
import type { Stamp } from './stamp.ts'
import {
  count,
  fields,
  frame,
  idsIn,
  MAX_PREFIXES,
  malformed,
  recordsIn,
  split,
  stamp
} from './wire.ts'

/** What answers a request of a reconciliation, see `wire-request.ts`. */
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

const COUNT_BYTES = 4

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
