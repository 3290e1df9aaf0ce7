import { encode } from 'cborg'
import { algorithmOf, hexOf, tryDigest } from '../digest.ts'
import { Fields } from './fields.ts'
import { type Hold, MAX_ID_LENGTH } from './member.ts'

/** One heartbeat: that a node is there, and in short what it holds (design, section 5). */
export interface Beat {
  /** The peer id of the node whose heart it is. */
  readonly id: string
  /** Random, new at each start of the process. */
  readonly boot: string
  /** The node's wall clock when it started, milliseconds since 1970. */
  readonly bootedAt: number
  /** Grows by one with each heartbeat of one boot. */
  readonly sequence: number
  /** Fingerprint of the records it has. */
  readonly root: string
  /** How many records its process has applied. */
  readonly position: number
  /** A stamp that nothing it will ever write from now on is at or below. */
  readonly promised: number
  /** The stamp up to which it has all records of all members that are not gone. */
  readonly confirmed: number
  readonly ready: boolean
  readonly disk: 'ok' | 'full' | 'failed'
  /** What it could still keep; a version that does not say leaves it out. */
  readonly freeBytes?: number
  readonly hold: Hold
  /** Fingerprint of the records up to which `missing` was computed. */
  readonly caughtUp: string
  /** Digests that should exist there and are not held: as many as fit, at most 1,000. */
  readonly missing: readonly string[]
  readonly missingCount: number
  readonly bytesHeld: number
  readonly blobsHeld: number
}

/** What the daemon says of itself in each heartbeat; the mesh adds who and when. */
export type Vitals = Omit<Beat, 'id' | 'boot' | 'bootedAt' | 'sequence'>

const MAX_MISSING = 1_000

/** Keeps a heartbeat well under the bound of a gossip message: 1,000 SHA-256 digests take 34 KB. */
const MAX_MISSING_BYTES = 36_000

export const MAX_BEAT_BYTES = 48 * 1024

const MAX_ROOT_LENGTH = 128
export const MAX_BOOT_LENGTH = 64

export function encodeBeat(beat: Beat): Uint8Array {
  return encode({ ...beat, missing: packDigests(beat.missing) })
}

/** Throws `PEER_FAILED` for anything but a sound heartbeat. */
export function decodeBeat(bytes: Uint8Array): Beat {
  const fields = new Fields(bytes)
  return {
    id: fields.text('id', MAX_ID_LENGTH),
    boot: fields.text('boot', MAX_BOOT_LENGTH),
    bootedAt: fields.count('bootedAt'),
    sequence: fields.count('sequence'),
    root: fields.text('root', MAX_ROOT_LENGTH),
    position: fields.countOr('position', 0),
    promised: fields.countOr('promised', 0),
    confirmed: fields.countOr('confirmed', 0),
    ready: fields.flag('ready'),
    disk: fields.word('disk', ['ok', 'full', 'failed']),
    ...(fields.has('freeBytes') && { freeBytes: fields.count('freeBytes') }),
    hold: fields.word('hold', ['all', 'none']),
    caughtUp: fields.text('caughtUp', MAX_ROOT_LENGTH),
    missing: unpackDigests(fields.byteStrings('missing', MAX_MISSING)),
    missingCount: fields.count('missingCount'),
    bytesHeld: fields.count('bytesHeld'),
    blobsHeld: fields.count('blobsHeld')
  }
}

function packDigests(digests: readonly string[]): readonly Uint8Array[] {
  const packed: Uint8Array[] = []
  let bytes = 0
  for (const text of digests.slice(0, MAX_MISSING)) {
    const digest = tryDigest(text)
    if (digest === undefined) continue
    const hash = Buffer.from(hexOf(digest), 'hex')
    bytes += hash.length + 2
    if (bytes > MAX_MISSING_BYTES) break
    packed.push(hash)
  }
  return packed
}

/** The length of a hash tells its algorithm; a length we do not know is a digest we cannot have. */
function unpackDigests(hashes: readonly Uint8Array[]): readonly string[] {
  return hashes.flatMap(hash => {
    const algorithm = hash.length === 32 ? 'sha256' : 'sha512'
    const digest = tryDigest(`${algorithm}:${Buffer.from(hash).toString('hex')}`)
    return digest === undefined ? [] : [`${algorithmOf(digest)}:${hexOf(digest)}`]
  })
}
