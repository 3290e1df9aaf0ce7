import { type Digest, tryDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { SMALL_BLOB_BYTES } from './piece-size.ts'

/**
 * Where many small blobs are asked for at once, by a `POST` of their digests, one a line. The path
 * has the version: a node that does not know it says 404 or 405, and is asked for one by one.
 */
export const BATCH_PATH = '/batches/1'

/** So many that the cost of a request does not count, so few that an answer is soon there. */
export const MAX_BATCH_BLOBS = 256

/**
 * What is asked for in a batch: of larger blobs a request of its own costs less than the copying
 * (`bench join --size 200MiB --blobs 200`).
 */
export const BATCHED_BLOB_BYTES = 128 * 1024

/** No further blob is begun in an answer of so many bytes; what is left out is asked for again. */
export const MAX_BATCH_BYTES = 4 * 1024 * 1024

/** The longest digest there is, and a line end. */
const MAX_LINE_BYTES = 'sha512:'.length + 128 + 1

export const MAX_REQUEST_BYTES = MAX_BATCH_BLOBS * MAX_LINE_BYTES

/** In place of a size: the blob is not held; or it is too large for a batch. */
const ABSENT = 0xffff_ffff
const ALONE = 0xffff_fffe
const HEAD_BYTES = 4

/** What a holder says of one blob. None of the bytes is verified. */
export type Entry =
  | { readonly kind: 'bytes'; readonly digest: Digest; readonly bytes: Buffer }
  | { readonly kind: 'absent' | 'alone'; readonly digest: Digest }

export function encodeRequest(digests: readonly Digest[]): Buffer {
  return Buffer.from(digests.join('\n'))
}

/** `undefined` when it is not a request for some blobs, and not too many. */
export function decodeRequest(body: Buffer): Digest[] | undefined {
  const lines = body.toString('latin1').split('\n')
  const digests = lines.map(tryDigest).filter(digest => digest !== undefined)
  return digests.length === lines.length && digests.length <= MAX_BATCH_BLOBS ? digests : undefined
}

/** What goes before the bytes of a blob, or stands for them. */
export function encodeHead(of: number | 'absent' | 'alone'): Buffer {
  const head = Buffer.allocUnsafe(HEAD_BYTES)
  head.writeUInt32BE(of === 'absent' ? ABSENT : of === 'alone' ? ALONE : of)
  return head
}

/**
 * Reads what a holder answers: entries in the order of the request, which may end early. Throws
 * `PEER_FAILED` when it is nothing of the kind, and what the body throws.
 */
export async function* readEntries(
  body: AsyncIterable<Buffer>,
  digests: readonly Digest[]
): AsyncGenerator<Entry> {
  const chunks = new Chunks(body)
  for (const digest of digests) {
    const head = await chunks.take(HEAD_BYTES)
    if (head === undefined) return
    const size = head.readUInt32BE()
    if (size === ABSENT || size === ALONE) {
      yield { kind: size === ABSENT ? 'absent' : 'alone', digest }
      continue
    }
    const bytes = size <= SMALL_BLOB_BYTES ? await chunks.take(size) : undefined
    if (bytes === undefined) throw malformed()
    yield { kind: 'bytes', digest, bytes }
  }
  if ((await chunks.take(1)) !== undefined) throw malformed()
}

/** Bytes as they come, taken so many at a time. */
class Chunks {
  readonly #chunks: AsyncIterator<Buffer>
  #rest: Buffer[] = []
  #restBytes = 0

  constructor(body: AsyncIterable<Buffer>) {
    this.#chunks = body[Symbol.asyncIterator]()
  }

  /** `undefined` at the end; throws `PEER_FAILED` when they end in the middle. */
  async take(count: number): Promise<Buffer | undefined> {
    while (this.#restBytes < count) {
      const { done, value } = await this.#chunks.next()
      if (done && this.#restBytes === 0) return undefined
      if (done) throw malformed()
      this.#rest.push(value)
      this.#restBytes += value.length
    }
    const [first = Buffer.alloc(0), ...others] = this.#rest
    const whole = others.length === 0 || first.length >= count ? first : Buffer.concat(this.#rest)
    const left = whole.subarray(count)
    const after = whole === first ? others : []
    this.#rest = left.length === 0 ? after : [left, ...after]
    this.#restBytes -= count
    return whole.subarray(0, count)
  }
}

function malformed(): StarlingError {
  return new StarlingError('PEER_FAILED', 'a peer answers a batch by another protocol')
}
