import { StarlingError } from '../errors.ts'
import type { Heads } from './merge.ts'
import { decodeRecord } from './record.ts'

/** What records of one kind and key write to, as one string: kinds have no NUL in them. */
export type RegisterName = string & { readonly __brand: 'RegisterName' }

const LENGTH_BYTES = 2

export function registerName(register: { kind: string; key: string }): RegisterName {
  return `${register.kind}\0${register.key}` as RegisterName
}

/** The heads of a register as the index stores them: each with its length before it. */
export function encodeHeads(heads: Heads): Buffer {
  const parts: Uint8Array[] = []
  for (const { bytes } of heads) {
    const length = Buffer.alloc(LENGTH_BYTES)
    length.writeUInt16LE(bytes.length)
    parts.push(length, bytes)
  }
  return Buffer.concat(parts)
}

/** The reverse of {@link encodeHeads}; throws `DATA_DAMAGED`. */
export function decodeHeads(stored: Buffer): Heads {
  try {
    return splitHeads(stored).map(decodeRecord)
  } catch (error) {
    throw new StarlingError('DATA_DAMAGED', 'the record index holds what is no record', {
      cause: error
    })
  }
}

/** The bytes of each head, not decoded; throws `RangeError` when the lengths make no sense. */
export function splitHeads(stored: Buffer): Buffer[] {
  const heads: Buffer[] = []
  for (let at = 0; at < stored.length; ) {
    const start = at + LENGTH_BYTES
    at = start + stored.readUInt16LE(at)
    if (at > stored.length) throw new RangeError('a head longer than what is stored')
    heads.push(stored.subarray(start, at))
  }
  return heads
}
