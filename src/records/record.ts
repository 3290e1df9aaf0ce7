import { hash } from 'node:crypto'
import { decode, decodeFirst, encode, rfc8949EncodeOptions } from 'cborg'
import { StarlingError } from '../errors.ts'
import { isStamp, type Stamp } from './stamp.ts'

/** The SHA-256 of a record's bytes as they came, in hexadecimal. */
export type RecordId = string & { readonly __brand: 'RecordId' }

/** Record origins and how far each is covered. The origin {@link EVERYONE} stands for all origins. */
export type Seen = ReadonlyMap<string, Stamp>

/** The key of a context under which a stamp counts for every origin (see `contextOf`). */
export const EVERYONE = ''

/** The body of a record as CBOR has it; a map from text to values. */
export type Body = ReadonlyMap<string, unknown>

/** What a record says, before it has bytes. */
export interface RecordFields {
  /** What sort of fact this is: `tag`, `link`, or one that a later version invents. */
  readonly kind: string
  /** The register that is written; unique together with the kind. */
  readonly key: string
  /** The id of the node that wrote it. */
  readonly origin: string
  readonly stamp: Stamp
  /** The causal context: every record of this register at or below it is replaced by this one. */
  readonly seen: Seen
  readonly body: Body
}

/** A small replicated fact, immutable, known by the hash of its bytes. */
export interface StampedRecord extends Omit<RecordFields, 'body'> {
  readonly version: number
  readonly id: RecordId
  readonly bytes: Uint8Array
  /** `undefined` when a later version wrote a body that this one cannot read. */
  readonly body: Body | undefined
  /** A tombstone: it replaces, and adds nothing. */
  readonly deleted: boolean
}

/** A tag, its digest and a full context come to some 3.4 KiB. Nothing larger is a small fact. */
export const MAX_RECORD_BYTES = 4_096
export const MAX_KEY_BYTES = 512
/** The version of the envelope that this node writes. */
export const RECORD_VERSION = 1

/** Versions fit one byte of the index. */
const MAX_VERSION = 255
const ENVELOPE_LENGTH = 7
/** CBOR's lengths up to 23 fit the first byte; a later version has room for that many fields. */
const MAX_ENVELOPE_LENGTH = 23
/** Deeper bodies are refused at a fixed depth, since where the stack ends differs from call to call. */
const MAX_DEPTH = 16
const KIND = /^[a-z][a-z0-9.-]{0,31}$/
/** Peer ids are 46 to 53 base58 characters. */
const ORIGIN = /^[!-~]{1,64}$/

const DECODE_OPTIONS = {
  strict: true,
  useMaps: true,
  rejectDuplicateMapKeys: true,
  allowIndefinite: false,
  allowUndefined: false,
  allowNaN: false,
  allowInfinity: false
}

/**
 * Gives a record its bytes: the canonical CBOR (RFC 8949 section 4.2.1) of
 * `[version, kind, key, origin, stamp, seen, body]`. Throws `RECORD_INVALID` when a limit is broken.
 */
export function encodeRecord(fields: RecordFields): StampedRecord {
  const { kind, key, origin, stamp, seen, body } = fields
  return decodeRecord(
    encode([RECORD_VERSION, kind, key, origin, stamp, seen, body], rfc8949EncodeOptions)
  )
}

/**
 * Reads a record, ours or a peer's; throws `RECORD_INVALID` when it breaks the envelope's rules.
 *
 * The rules never look into the body for its meaning: a node that refused a body which a newer
 * node accepts could never reach the same root. Version 1 must be canonical, so that one fact has
 * one id. A later version keeps these seven fields in front and may append others; whatever its
 * body is, it merges here and travels on byte for byte.
 */
export function decodeRecord(bytes: Uint8Array): StampedRecord {
  if (bytes.length > MAX_RECORD_BYTES) throw invalid(`more than ${MAX_RECORD_BYTES} bytes`)
  try {
    const [version, kind, key, origin, stamp, seen, body] = readEnvelope(bytes)
    const fields = {
      version: checkVersion(version),
      kind: checkText(kind, KIND, 'kind'),
      key: checkKey(key),
      origin: checkText(origin, ORIGIN, 'origin'),
      stamp: checkStamp(stamp),
      body: checkBody(body, version)
    }
    return {
      ...fields,
      seen: checkSeen(seen, fields.stamp),
      deleted: fields.body?.get('deleted') === true,
      bytes,
      id: recordId(bytes)
    }
  } catch (error) {
    throw error instanceof StarlingError ? error : invalid('not the CBOR of a record', error)
  }
}

/** {@link decodeRecord} for input that may be bad: `undefined` then. */
export function tryDecodeRecord(bytes: Uint8Array): StampedRecord | undefined {
  try {
    return decodeRecord(bytes)
  } catch {
    return undefined
  }
}

export function recordId(bytes: Uint8Array): RecordId {
  return hash('sha256', bytes, 'hex') as RecordId
}

export function idBytes(id: RecordId): Buffer {
  return Buffer.from(id, 'hex')
}

export function idOfBytes(bytes: Uint8Array): RecordId {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('hex') as RecordId
}

/** What the index must know of a record that was checked before: a quarter of the work of decoding. */
export function peekRecord(bytes: Uint8Array): { version: number; kind: string; key: string } {
  const [version, afterVersion] = decodeFirst(bytes.subarray(1), DECODE_OPTIONS)
  const [kind, afterKind] = decodeFirst(afterVersion, DECODE_OPTIONS)
  const [key] = decodeFirst(afterKind, DECODE_OPTIONS)
  return { version, kind, key }
}

function readEnvelope(bytes: Uint8Array): unknown[] {
  const length = (bytes[0] ?? 0) - 0x80
  if (length < ENVELOPE_LENGTH || length > MAX_ENVELOPE_LENGTH) throw invalid('no envelope')
  const [version] = decodeFirst(bytes.subarray(1), DECODE_OPTIONS)
  return version === RECORD_VERSION ? readCanonical(bytes) : readLater(bytes)
}

function readCanonical(bytes: Uint8Array): unknown[] {
  const fields: unknown[] = decode(bytes, DECODE_OPTIONS)
  if (fields.length !== ENVELOPE_LENGTH) throw invalid('an envelope of another length')
  checkDepth(fields, 0)
  if (Buffer.compare(encode(fields, rfc8949EncodeOptions), bytes) !== 0) {
    throw invalid('an encoding that is not canonical')
  }
  return fields
}

/** Reads the seven fields we know and leaves alone what a later version put behind them. */
function readLater(bytes: Uint8Array): unknown[] {
  const fields: unknown[] = []
  let rest = bytes.subarray(1)
  while (fields.length < ENVELOPE_LENGTH - 1) {
    const [field, remainder] = decodeFirst(rest, DECODE_OPTIONS)
    fields.push(field)
    rest = remainder
  }
  try {
    const [body] = decodeFirst(rest, DECODE_OPTIONS)
    checkDepth(body, 1)
    fields.push(body)
  } catch {
    fields.push(undefined)
  }
  return fields
}

function checkDepth(value: unknown, depth: number): void {
  if (depth > MAX_DEPTH) throw invalid(`nested more than ${MAX_DEPTH} deep`)
  if (Array.isArray(value)) for (const item of value) checkDepth(item, depth + 1)
  if (!(value instanceof Map)) return
  for (const [key, item] of value) {
    if (typeof key !== 'string') throw invalid('a map with keys other than text')
    checkDepth(item, depth + 1)
  }
}

function checkVersion(version: unknown): number {
  if (isStamp(version) && version >= RECORD_VERSION && version <= MAX_VERSION) return version
  throw invalid(`a version other than 1 to ${MAX_VERSION}`)
}

function checkText(text: unknown, pattern: RegExp, what: string): string {
  if (typeof text === 'string' && pattern.test(text)) return text
  throw invalid(`a ${what} other than ${pattern.source}`)
}

function checkKey(key: unknown): string {
  const sizeBytes = typeof key === 'string' ? Buffer.byteLength(key) : 0
  if (typeof key === 'string' && sizeBytes > 0 && sizeBytes <= MAX_KEY_BYTES) return key
  throw invalid(`a key other than 1 to ${MAX_KEY_BYTES} bytes of text`)
}

function checkStamp(stamp: unknown): Stamp {
  if (isStamp(stamp)) return stamp
  throw invalid('a stamp that is no integer from 0 to 2^53 - 1')
}

/**
 * A context lies below the record's own stamp. So what covers always has the greater stamp, no two
 * records can cover each other, and nodes that saw them in different orders cannot disagree.
 */
function checkSeen(seen: unknown, stamp: Stamp): Seen {
  if (!(seen instanceof Map)) throw invalid('a context that is no map')
  for (const [origin, upTo] of seen) {
    if (origin !== EVERYONE) checkText(origin, ORIGIN, 'origin')
    if (checkStamp(upTo) >= stamp) throw invalid('a context that is not older than its record')
  }
  return seen
}

function checkBody(body: unknown, version: unknown): Body | undefined {
  if (body instanceof Map) return body
  if (version !== RECORD_VERSION) return undefined
  throw invalid('a body that is no map')
}

function invalid(what: string, cause?: unknown): StarlingError {
  return new StarlingError('RECORD_INVALID', `not a record: ${what}`, { cause })
}
