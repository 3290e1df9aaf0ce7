import { createHash } from 'node:crypto'

/** The state of a set of records in a few bytes: equal roots mean equal sets. */
export interface Root {
  readonly count: number
  /** Hash over the whole set, in hexadecimal. */
  readonly hash: string
}

/** Record ids are spread over this many buckets by their first byte. */
export const BUCKETS = 256

const ID_BYTES = 32
/** 16-bit limbs: their sums stay exact in 32-bit integers. */
const LIMBS = ID_BYTES / 2
/** 128 bits tell sets apart as surely as we need; 256 of these are one frame of 4 KiB. */
const HASH_BYTES = 16

/**
 * Fingerprints of a changing set of ids: per bucket the number of ids and their sum modulo 2^256.
 * A sum, unlike an exclusive or, does not let chosen ids cancel each other by linear algebra.
 * Memory is constant, and a change costs one addition.
 */
export class Fingerprint {
  readonly #counts = new Uint32Array(BUCKETS)
  readonly #sums = new Uint16Array(BUCKETS * LIMBS)
  #bytes = 0

  /** Ids in the set. */
  get count(): number {
    return this.#counts.reduce((sum, count) => sum + count, 0)
  }

  /** The sizes of the records in the set, summed up. */
  get sizeBytes(): number {
    return this.#bytes
  }

  /** Adds an id of 32 bytes that is not in the set. */
  add(id: Uint8Array, sizeBytes: number): void {
    const { bucket, view } = locate(id)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.#bytes += sizeBytes
    let carry = 0
    for (let limb = 0; limb < LIMBS; limb++) {
      const at = bucket * LIMBS + limb
      const sum = (this.#sums[at] ?? 0) + view.getUint16(limb * 2, true) + carry
      this.#sums[at] = sum
      carry = sum >>> 16
    }
  }

  /** Takes out an id that is in the set. */
  remove(id: Uint8Array, sizeBytes: number): void {
    const { bucket, view } = locate(id)
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) - 1
    this.#bytes -= sizeBytes
    let borrow = 0
    for (let limb = 0; limb < LIMBS; limb++) {
      const at = bucket * LIMBS + limb
      const difference = (this.#sums[at] ?? 0) - view.getUint16(limb * 2, true) - borrow
      this.#sums[at] = difference
      borrow = difference < 0 ? 1 : 0
    }
  }

  /** One hash over each bucket, in hexadecimal. */
  bucketHashes(): readonly string[] {
    return Array.from({ length: BUCKETS }, (_, bucket) => this.#bucketHash(bucket).toString('hex'))
  }

  root(): Root {
    const hash = createHash('sha256')
    hash.update(Buffer.from(this.#counts.buffer))
    hash.update(Buffer.from(this.#sums.buffer))
    return { count: this.count, hash: shorten(hash.digest()).toString('hex') }
  }

  #bucketHash(bucket: number): Buffer {
    const sum = this.#sums.subarray(bucket * LIMBS, (bucket + 1) * LIMBS)
    const hash = createHash('sha256')
    hash.update(Buffer.from(this.#counts.subarray(bucket, bucket + 1).slice().buffer))
    hash.update(Buffer.from(sum.slice().buffer))
    return shorten(hash.digest())
  }
}

function locate(id: Uint8Array): { bucket: number; view: DataView } {
  return { bucket: id[0] ?? 0, view: new DataView(id.buffer, id.byteOffset, ID_BYTES) }
}

function shorten(hash: Buffer): Buffer {
  return hash.subarray(0, HASH_BYTES)
}
