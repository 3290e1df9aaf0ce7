import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { UnsoundIndex } from './contents.ts'
import type { Mark } from './segments.ts'
import type { Stamp } from './stamp.ts'

/** A change of format rebuilds the index from the journal; no migration is ever needed. */
const FORMAT = 2

/** Where a commit stands in the journal, and what was journalled beside records. */
export interface Place {
  readonly mark: Mark
  readonly floor: Stamp
  readonly note: Uint8Array | undefined
}

export interface Meta extends Place {
  /** The hash of the root of all that is in the index. */
  readonly hash: string
}

export function encodeMeta({ mark, floor, hash, note }: Meta): Buffer {
  const fields = [FORMAT, mark.segment, mark.offset, mark.checksum, floor, hash, note ?? null]
  return Buffer.from(encode(fields, rfc8949EncodeOptions))
}

/** Throws {@link UnsoundIndex} for another format. */
export function decodeMeta(stored: Buffer | undefined): Meta | undefined {
  if (stored === undefined) return undefined
  const [format, segment, offset, checksum, floor, hash, note] = decode(stored)
  if (format !== FORMAT) throw new UnsoundIndex('another format')
  return { mark: { segment, offset, checksum }, floor, hash, note: note ?? undefined }
}
