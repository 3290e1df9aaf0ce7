import { decode, encode } from 'cborg'
import { CID } from 'multiformats/cid'
import { type Digest, fromCid, toCid, tryDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'

/** Protocol names carry their version; a node that speaks none of a peer's stays apart (hello). */
export const RECONCILE_PROTOCOL = '/starling/reconcile/2'
export const HAVE_PROTOCOL = '/starling/have/1'

/** A gossip message stays well below the mesh's 64 KiB, so that it always fits with its frame. */
export const MAX_GOSSIP_BYTES = 60 * 1024
/** As many digests as an image index with every platform and attestation needs, and to spare. */
export const MAX_HAVE_DIGESTS = 1_000
export const MAX_HAVE_BYTES = 256 * 1024

/** What nodes tell each other unasked: new records, and blobs that they now hold. */
export type Announcement =
  | { readonly kind: 'records'; readonly records: readonly Uint8Array[] }
  | { readonly kind: 'held'; readonly digests: readonly Digest[] }

export function encodeAnnouncement(announcement: Announcement): Uint8Array {
  switch (announcement.kind) {
    case 'records':
      return encode(['records', announcement.records])
    case 'held':
      return encode(['held', announcement.digests.map(digest => toCid(digest).bytes)])
  }
}

/** Reads an announcement; `undefined` for one of a kind that this version does not know. */
export function decodeAnnouncement(bytes: Uint8Array): Announcement | undefined {
  const [kind, items] = decodeArray(bytes)
  if (!Array.isArray(items) || !items.every(item => item instanceof Uint8Array)) throw malformed()
  if (kind === 'records') return { kind, records: items }
  if (kind === 'held') return { kind, digests: items.map(digestFromCid) }
  return undefined
}

/** A CBOR byte string's own head, counted generously. */
const RECORD_OVERHEAD_BYTES = 8

/** Records as announcements of at most `maxBytes`, in order. */
export function* announcementsOf(
  records: readonly Uint8Array[],
  maxBytes: number
): IterableIterator<Uint8Array> {
  let batch: Uint8Array[] = []
  let size = 0
  for (const record of records) {
    const cost = record.length + RECORD_OVERHEAD_BYTES
    if (size + cost > maxBytes && batch.length > 0) {
      yield encodeAnnouncement({ kind: 'records', records: batch })
      batch = []
      size = 0
    }
    batch.push(record)
    size += cost
  }
  if (batch.length > 0) yield encodeAnnouncement({ kind: 'records', records: batch })
}

/** The records of an announcement of that kind; throws `PEER_FAILED` for any other message. */
export function recordsOf(bytes: Uint8Array): readonly Uint8Array[] {
  const announcement = decodeAnnouncement(bytes)
  if (announcement?.kind !== 'records') throw malformed()
  return announcement.records
}

export function encodeHave(digests: readonly Digest[]): Uint8Array {
  return encode(digests.slice(0, MAX_HAVE_DIGESTS))
}

export function decodeHave(bytes: Uint8Array): Digest[] {
  const items = decodeArray(bytes)
  if (items.length > MAX_HAVE_DIGESTS) throw malformed()
  return items.map(item => {
    const digest = typeof item === 'string' ? tryDigest(item) : undefined
    if (digest === undefined) throw malformed()
    return digest
  })
}

/** For each digest asked for, in order: its size where it is held, else -1. */
export function encodeSizes(sizes: readonly number[]): Uint8Array {
  return encode(sizes)
}

export function decodeSizes(bytes: Uint8Array, count: number): number[] {
  const items = decodeArray(bytes)
  if (items.length !== count || !items.every(item => Number.isSafeInteger(item))) throw malformed()
  return items as number[]
}

function decodeArray(bytes: Uint8Array): unknown[] {
  let value: unknown
  try {
    value = decode(bytes)
  } catch (cause) {
    throw malformed(cause)
  }
  if (!Array.isArray(value)) throw malformed()
  return value
}

function digestFromCid(bytes: Uint8Array): Digest {
  let digest: Digest | undefined
  try {
    digest = fromCid(CID.decode(bytes))
  } catch (cause) {
    throw malformed(cause)
  }
  if (digest === undefined) throw malformed()
  return digest
}

function malformed(cause?: unknown): StarlingError {
  return new StarlingError('PEER_FAILED', 'a peer sent a message that does not decode', { cause })
}
