import { MAX_DEPTH, type Prefix } from './fingerprint.ts'
import { idBytes, type StampedRecord } from './record.ts'
import type { RegisterName } from './register.ts'
import type { Stamp } from './stamp.ts'

/** What the index holds, by the first byte of the key: registers, ids, and tombstones by stamps. */
export const REGISTER = 'r'
export const ID = 'i'
export const TOMBSTONE = 't'

export const ID_BYTES = 32
const STAMP_BYTES = 8
const ID_BYTE = Buffer.from(ID)

export function rangeOf(prefix: string): { gte: Buffer; lt: Buffer } {
  return { gte: Buffer.from(prefix), lt: Buffer.from([prefix.charCodeAt(0) + 1]) }
}

export function registerKey(name: RegisterName): Buffer {
  return Buffer.from(REGISTER + name)
}

/** Tombstones lie in the order of their stamps. */
export function tombstoneKey(record: StampedRecord): Buffer {
  return Buffer.concat([stampKey(record.stamp), idBytes(record.id)])
}

export function stampKey(stamp: Stamp): Buffer {
  const key = Buffer.alloc(1 + STAMP_BYTES, TOMBSTONE)
  key.writeBigUInt64BE(BigInt(stamp), 1)
  return key
}

export function idKey(id: Uint8Array): Buffer {
  return Buffer.concat([ID_BYTE, id])
}

/** The keys of the ids in a range: prefixes are of four digits at most, which are two bytes. */
export function idRange(prefix: Prefix): { gte: Buffer; lt: Buffer } {
  const width = 16 ** (MAX_DEPTH - prefix.length)
  const from = (prefix === '' ? 0 : Number.parseInt(prefix, 16)) * width
  const below = from + width
  const gte = Buffer.from([ID.charCodeAt(0), from >>> 8, from & 0xff])
  if (below > 0xffff) return { gte, lt: Buffer.from([ID.charCodeAt(0) + 1]) }
  return { gte, lt: Buffer.from([ID.charCodeAt(0), below >>> 8, below & 0xff]) }
}
