import { crc32 } from 'node:zlib'
import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { StarlingError } from '../errors.ts'
import { isStamp, type Stamp } from './stamp.ts'

/** What one frame of the journal holds; all of it is there after a crash, or none. */
export interface Batch {
  /** The hybrid clock when it was written: no stamp up to it is issued again. */
  readonly floor: Stamp
  /** The bytes of records. */
  readonly records: readonly Uint8Array[]
  /** What the node keeps of itself, see `Standing`; the last one written counts. */
  readonly note?: Uint8Array | undefined
}

/** A piece of a segment: a sound frame, or bytes that are not one. */
export type Piece =
  | { readonly kind: 'frame'; readonly end: number; readonly checksum: number; batch(): Batch }
  | { readonly kind: 'gap'; readonly from: number; readonly to: number }

/** The most that a write of 1,024 records comes to, doubled. */
export const MAX_FRAME_BYTES = 8 * 1024 * 1024
export const SEGMENT_HEADER_BYTES = 16

/** The format of segments. A later one is not opened, since what is in it cannot be told from damage. */
const FORMAT = 1
const MAGIC = Buffer.from('STARLREC')
const MARKER = Buffer.from('STFR')
/** Marker, length, checksum of the place, checksum of the payload; 4 bytes each. */
const FRAME_HEADER_BYTES = 16

/** The first bytes of every segment: magic, format, and a checksum of both. */
export function segmentHeader(): Buffer {
  const header = Buffer.alloc(SEGMENT_HEADER_BYTES)
  MAGIC.copy(header)
  header.writeUInt32LE(FORMAT, 8)
  header.writeUInt32LE(crc32(header.subarray(0, 12)), 12)
  return header
}

/** A frame that belongs at `offset` of `segment`, and nowhere else. */
export function encodeFrame(
  batch: Batch,
  segment: number,
  offset: number
): { frame: Buffer; checksum: number } {
  const { floor, records, note } = batch
  const payload = encode(note ? [floor, records, note] : [floor, records], rfc8949EncodeOptions)
  if (payload.length > MAX_FRAME_BYTES) {
    throw new StarlingError('RECORD_INVALID', `more than ${MAX_FRAME_BYTES} bytes in one write`)
  }
  const frame = Buffer.alloc(FRAME_HEADER_BYTES + payload.length)
  MARKER.copy(frame)
  frame.writeUInt32LE(payload.length, 4)
  const place = placeChecksum(segment, offset, payload.length)
  frame.writeUInt32LE(place, 8)
  const checksum = crc32(payload, place)
  frame.writeUInt32LE(checksum, 12)
  frame.set(payload, FRAME_HEADER_BYTES)
  return { frame, checksum }
}

/**
 * Takes a segment apart. After damage it goes on at the next sound frame, so a flipped bit costs
 * one frame and not the rest. Throws `DATA_DAMAGED` for a segment of a later format.
 *
 * The checksum covers where the frame stands, so that neither a sector written to the wrong place
 * nor a frame that someone hid inside a record's bytes is taken for one.
 */
export function* readSegment(bytes: Buffer, segment: number): Generator<Piece, void> {
  let offset = readHeader(bytes, segment)
  if (offset === 0) {
    offset = nextFrame(bytes, segment, 0)
    yield { kind: 'gap', from: 0, to: offset }
  }
  while (offset < bytes.length) {
    const end = frameEnd(bytes, segment, offset)
    if (end === undefined) {
      const next = nextFrame(bytes, segment, offset + 1)
      yield { kind: 'gap', from: offset, to: next }
      offset = next
    } else {
      const payload = bytes.subarray(offset + FRAME_HEADER_BYTES, end)
      const checksum = bytes.readUInt32LE(offset + 12)
      yield { kind: 'frame', end, checksum, batch: () => decodeBatch(payload) }
      offset = end
    }
  }
}

/** Where the first frame is; 0 when the header is damaged. */
function readHeader(bytes: Buffer, segment: number): number {
  if (bytes.length < SEGMENT_HEADER_BYTES) return 0
  const header = bytes.subarray(0, SEGMENT_HEADER_BYTES)
  if (header.readUInt32LE(12) !== crc32(header.subarray(0, 12))) return 0
  if (header.compare(MAGIC, 0, MAGIC.length, 0, MAGIC.length) !== 0) return 0
  if (header.readUInt32LE(8) === FORMAT) return SEGMENT_HEADER_BYTES
  throw new StarlingError(
    'DATA_DAMAGED',
    `segment ${segment} of the journal has format ${header.readUInt32LE(8)}; this version reads ${FORMAT}`
  )
}

function nextFrame(bytes: Buffer, segment: number, from: number): number {
  for (let at = bytes.indexOf(MARKER, from); at >= 0; at = bytes.indexOf(MARKER, at + 1)) {
    if (frameEnd(bytes, segment, at) !== undefined) return at
  }
  return bytes.length
}

/**
 * Where the frame at `offset` ends, if a sound one is there. The place is checked before the payload
 * is looked at, so bytes full of markers cannot make the search read megabytes for each.
 */
function frameEnd(bytes: Buffer, segment: number, offset: number): number | undefined {
  const start = offset + FRAME_HEADER_BYTES
  if (start > bytes.length) return undefined
  if (bytes.compare(MARKER, 0, MARKER.length, offset, offset + MARKER.length) !== 0)
    return undefined
  const lengthBytes = bytes.readUInt32LE(offset + 4)
  const place = placeChecksum(segment, offset, lengthBytes)
  if (bytes.readUInt32LE(offset + 8) !== place) return undefined
  const end = start + lengthBytes
  if (end > bytes.length || lengthBytes > MAX_FRAME_BYTES) return undefined
  const sound = bytes.readUInt32LE(offset + 12) === crc32(bytes.subarray(start, end), place)
  return sound ? end : undefined
}

function placeChecksum(segment: number, offset: number, lengthBytes: number): number {
  const place = Buffer.alloc(12)
  place.writeUInt32LE(segment, 0)
  place.writeUInt32LE(offset, 4)
  place.writeUInt32LE(lengthBytes, 8)
  return crc32(place)
}

function decodeBatch(payload: Uint8Array): Batch {
  const [floor, records, note]: unknown[] = decode(payload)
  return {
    floor: isStamp(floor) ? floor : (0 as Stamp),
    records: Array.isArray(records) ? records.filter(record => record instanceof Uint8Array) : [],
    note: note instanceof Uint8Array ? note : undefined
  }
}
