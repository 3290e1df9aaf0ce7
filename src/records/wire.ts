import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { StarlingError } from '../errors.ts'
import { MAX_RECORD_BYTES } from './record.ts'
import { isStamp, type Stamp } from './stamp.ts'

/*
 * What the messages of a reconciliation are made of; see `wire-request.ts` and `wire-answer.ts`.
 * Every message is a CBOR array that begins with its kind. A later version may append fields, which
 * are not looked at here; what must be understood gets another kind, which is refused by name, or
 * another protocol name. All that reads here throws `PEER_FAILED` for what makes no sense.
 */

/** No request and no answer is larger. */
export const MAX_FRAME_BYTES = 1024 * 1024
/** Ids in one frame: half a mebibyte. */
export const MAX_IDS = 16_384
/** Ranges in one frame: their summaries take 320 bytes each. */
export const MAX_PREFIXES = 1_024

export const ID_BYTES = 32

/** A message of its kind and its fields. */
export function frame(content: readonly unknown[]): Uint8Array {
  return encode(content, rfc8949EncodeOptions)
}

/** The kind of a message and its fields. */
export function fields(bytes: Uint8Array): unknown[] {
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

/** A number from 0. */
export function count(value: unknown): number {
  if (Number.isSafeInteger(value) && Number(value) >= 0) return Number(value)
  throw malformed()
}

/** A stamp that a record may have. */
export function stamp(value: unknown): Stamp {
  if (isStamp(value)) return value
  throw malformed()
}

/** Ids, one after the other, no more than {@link MAX_IDS}. */
export function idsIn(value: unknown): Uint8Array[] {
  return split(value, ID_BYTES, MAX_IDS)
}

/** Records, each no larger than one may be. */
export function recordsIn(value: unknown): Uint8Array[] {
  const sound = Array.isArray(value) && value.every(isRecordSized)
  if (sound) return value
  throw malformed()
}

function isRecordSized(value: unknown): boolean {
  return value instanceof Uint8Array && value.length <= MAX_RECORD_BYTES
}

/** Parts of one size, no more than so many. */
export function split(value: unknown, size: number, most: number): Uint8Array[] {
  if (!(value instanceof Uint8Array)) throw malformed()
  if (value.length % size !== 0 || value.length > size * most) throw malformed()
  const parts = value.length / size
  return Array.from({ length: parts }, (_, i) => value.subarray(i * size, (i + 1) * size))
}

/** What is thrown for a message that makes no sense. */
export function malformed(cause?: unknown): StarlingError {
  return new StarlingError('PEER_FAILED', 'a reconciliation message that makes no sense', { cause })
}
