import { decode, encode } from 'cborg'
import { type Digest, tryDigest } from '../../digest.ts'
import { StarlingError } from '../../errors.ts'
import { HASH_BYTES, MAX_PIECE_BYTES, MAX_PIECES, MIN_PIECE_BYTES } from '../piece-size.ts'
import { Bits } from '../schedule/bits.ts'
import { tryKey } from './key.ts'

/** A greeting names every piece that is held: up to 2 MiB of hashes, and the rest is little. */
export const MAX_MESSAGE_BYTES = MAX_PIECES * HASH_BYTES + 64 * 1024

/** Changes with anything that an older node would misread; the channel's name carries it too. */
const VERSION = 1

/** Pieces, each with its SHA-256, 32 bytes each in the same order. */
export interface Pieces {
  readonly pieces: readonly number[]
  readonly hashes: Uint8Array
}

/** What a push turned out to be. */
export interface Name {
  readonly digest: Digest
  readonly sizeBytes: number
}

/** What two neighbours say to each other about a blob. `key` is one of `key.ts`. */
export type Message = { readonly key: string } & (
  | ({
      readonly kind: 'hello'
      readonly pieceBytes: number
      /** Unknown while the push streams in, or when a node looks for a blob it knows nothing of. */
      readonly sizeBytes: number | undefined
      readonly name: Name | undefined
      /** Whether the sender lacks pieces. */
      readonly wants: boolean
      /** Whether it wants to hear a hello in return. */
      readonly reply: boolean
    } & Pieces)
  | ({ readonly kind: 'have' | 'offer' } & Pieces)
  /** The upload has become this blob. */
  | ({ readonly kind: 'named' } & Name)
  /** The upload is over, and became nothing. */
  | { readonly kind: 'abort' }
  /** The sender has no part in the blob, or no longer. */
  | { readonly kind: 'leave' }
  /** How many bytes the sender has of a push to the receiver, which it does not learn otherwise. */
  | { readonly kind: 'progress'; readonly bytes: number }
  /** A piece that the receiver sent is not the one it announced. */
  | { readonly kind: 'complain'; readonly piece: number }
)

export function encodeMessage(message: Message): Uint8Array {
  const { kind, key } = message
  switch (kind) {
    case 'hello': {
      const { pieceBytes, sizeBytes = null, name, wants, reply, pieces, hashes } = message
      const named = name === undefined ? null : [name.digest, name.sizeBytes]
      const bits = new Bits(MAX_PIECES)
      for (const piece of pieces) bits.add(piece)
      const fields = [pieceBytes, sizeBytes, named, wants, reply, bits.toBytes(), hashes]
      return encode([VERSION, kind, key, ...fields])
    }
    case 'have':
    case 'offer':
      return encode([VERSION, kind, key, message.pieces, message.hashes])
    case 'named':
      return encode([VERSION, kind, key, message.digest, message.sizeBytes])
    case 'progress':
      return encode([VERSION, kind, key, message.bytes])
    case 'complain':
      return encode([VERSION, kind, key, message.piece])
    default:
      return encode([VERSION, kind, key])
  }
}

/**
 * Reads a message; `undefined` for one of a kind or version that this node does not know. Throws
 * `PEER_FAILED` for what no honest node sends.
 */
export function decodeMessage(bytes: Uint8Array): Message | undefined {
  const value = bytes.length > MAX_MESSAGE_BYTES ? undefined : parsed(bytes)
  if (!Array.isArray(value)) throw malformed()
  const [version, kind, key, ...fields]: unknown[] = value
  if (version !== VERSION) return undefined
  if (typeof key !== 'string' || tryKey(key) === undefined) throw malformed()
  switch (kind) {
    case 'hello':
      return { kind, key, ...helloOf(fields) }
    case 'have':
    case 'offer':
      return { kind, key, ...piecesOf(fields[0], fields[1]) }
    case 'named':
      return { kind, key, ...nameOf(fields) }
    case 'progress':
      return { kind, key, bytes: countOf(fields[0], Number.MAX_SAFE_INTEGER) }
    case 'complain':
      return { kind, key, piece: countOf(fields[0], MAX_PIECES - 1) }
    case 'abort':
    case 'leave':
      return { kind, key }
    default:
      return undefined
  }
}

function helloOf([pieceBytes, sizeBytes, name, wants, reply, bits, hashes]: unknown[]) {
  if (typeof wants !== 'boolean' || typeof reply !== 'boolean') throw malformed()
  if (!(bits instanceof Uint8Array) || bits.length > MAX_PIECES / 8) throw malformed()
  const size = sizeBytes === null ? undefined : countOf(sizeBytes, Number.MAX_SAFE_INTEGER)
  const piece = countOf(pieceBytes, MAX_PIECE_BYTES)
  if (piece < MIN_PIECE_BYTES || !Number.isInteger(Math.log2(piece))) throw malformed()
  if (size !== undefined && size > piece * MAX_PIECES) throw malformed()
  return {
    pieceBytes: piece,
    sizeBytes: size,
    name: Array.isArray(name) ? nameOf(name) : undefined,
    ...{ wants, reply },
    ...piecesOf([...Bits.fromBytes(bits, MAX_PIECES)], hashes)
  }
}

function piecesOf(pieces: unknown, hashes: unknown): Pieces {
  if (!Array.isArray(pieces) || pieces.length > MAX_PIECES) throw malformed()
  if (!(hashes instanceof Uint8Array) || hashes.length !== pieces.length * HASH_BYTES) {
    throw malformed()
  }
  return { pieces: pieces.map(piece => countOf(piece, MAX_PIECES - 1)), hashes }
}

function nameOf([digest, sizeBytes]: unknown[]): Name {
  const parsedDigest = typeof digest === 'string' ? tryDigest(digest) : undefined
  if (parsedDigest === undefined) throw malformed()
  return { digest: parsedDigest, sizeBytes: countOf(sizeBytes, Number.MAX_SAFE_INTEGER) }
}

function countOf(value: unknown, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) {
    throw malformed()
  }
  return value
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, { useMaps: true })
  } catch (error) {
    throw new StarlingError('PEER_FAILED', 'a swarm message that is not CBOR', { cause: error })
  }
}

function malformed(): StarlingError {
  return new StarlingError('PEER_FAILED', 'a swarm message that is malformed')
}
