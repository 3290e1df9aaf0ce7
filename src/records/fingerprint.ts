import { createHash } from 'node:crypto'

/** The state of a set of records in a few bytes: equal roots mean equal sets. */
export interface Root {
  readonly count: number
  /** Hash over the whole set, in hexadecimal. */
  readonly hash: string
}

/** A range of ids: those whose hexadecimal form begins so. The empty prefix is the range of all. */
export type Prefix = string

/** What a range holds, so that two sets can be compared there. */
export interface Summary {
  readonly count: number
  readonly hash: Buffer
}

/** Each range of the tree divides into so many, by the next hexadecimal digit. */
export const FANOUT = 16
/**
 * Digits of the longest prefix with a fingerprint. The 65,536 ranges of the last level hold 15 ids
 * each of a million records: as many as it costs to list them instead of dividing further.
 */
export const MAX_DEPTH = 4
/** 128 bits tell sets apart as surely as we need. */
export const HASH_BYTES = 16

const ID_BYTES = 32
/** 16-bit limbs: their sums stay exact in 32-bit integers. */
const LIMBS = ID_BYTES / 2
/** Where the nodes of each level begin among all nodes, and how many there are. */
const LEVELS = [0, 1, 17, 273, 4_369] as const
const NODES = 69_905

/**
 * Fingerprints of a changing set of ids, as a tree of ranges: per range the number of ids and their
 * sum modulo 2^256. A sum, unlike an exclusive or, does not let chosen ids cancel each other by
 * linear algebra. A change costs five additions, and the memory is 2.4 MiB however many ids there are.
 */
export class Fingerprint {
  readonly #counts: Uint32Array
  readonly #sums: Uint16Array
  readonly #depth: number
  #bytes = 0

  /** @param depth digits of the longest prefix; with 0 there is only the root, in a few bytes */
  constructor(depth: number = MAX_DEPTH) {
    const nodes = LEVELS[depth + 1] ?? NODES
    this.#depth = depth
    this.#counts = new Uint32Array(nodes)
    this.#sums = new Uint16Array(nodes * LIMBS)
  }

  /** Ids in the set. */
  get count(): number {
    return this.#counts[0] ?? 0
  }

  /** The sizes of the records in the set, summed up. */
  get sizeBytes(): number {
    return this.#bytes
  }

  /** Adds an id of 32 bytes that is not in the set. */
  add(id: Uint8Array, sizeBytes: number): void {
    this.#bytes += sizeBytes
    const limbs = limbsOf(id)
    for (let depth = 0; depth <= this.#depth; depth++) {
      const node = nodeOf(id, depth)
      this.#counts[node] = (this.#counts[node] ?? 0) + 1
      let carry = 0
      for (let limb = 0, at = node * LIMBS; limb < LIMBS; limb++, at++) {
        const sum = (this.#sums[at] ?? 0) + (limbs[limb] ?? 0) + carry
        this.#sums[at] = sum
        carry = sum >>> 16
      }
    }
  }

  /** Takes out an id that is in the set. */
  remove(id: Uint8Array, sizeBytes: number): void {
    this.#bytes -= sizeBytes
    const limbs = limbsOf(id)
    for (let depth = 0; depth <= this.#depth; depth++) {
      const node = nodeOf(id, depth)
      this.#counts[node] = (this.#counts[node] ?? 0) - 1
      let borrow = 0
      for (let limb = 0, at = node * LIMBS; limb < LIMBS; limb++, at++) {
        const difference = (this.#sums[at] ?? 0) - (limbs[limb] ?? 0) - borrow
        this.#sums[at] = difference
        borrow = difference < 0 ? 1 : 0
      }
    }
  }

  root(): Root {
    const { count, hash } = this.#summary(0)
    return { count, hash: hash.toString('hex') }
  }

  /** The summaries of the ranges that a range of less than {@link MAX_DEPTH} digits divides into. */
  divide(prefix: Prefix): readonly Summary[] {
    const level = LEVELS[prefix.length + 1]
    if (level === undefined) throw new RangeError(`the range ${prefix} is not divided`)
    const first = level + (prefix === '' ? 0 : Number.parseInt(prefix, 16)) * FANOUT
    return Array.from({ length: FANOUT }, (_, digit) => this.#summary(first + digit))
  }

  #summary(node: number): Summary {
    const count = this.#counts[node] ?? 0
    const hash = createHash('sha256')
    hash.update(Uint32Array.of(count))
    hash.update(this.#sums.slice(node * LIMBS, (node + 1) * LIMBS))
    return { count, hash: hash.digest().subarray(0, HASH_BYTES) }
  }
}

/** The node at this depth whose range an id is in. */
function nodeOf(id: Uint8Array, depth: number): number {
  const leaf = ((id[0] ?? 0) << 8) | (id[1] ?? 0)
  return (LEVELS[depth] ?? 0) + (leaf >>> (4 * (MAX_DEPTH - depth)))
}

function limbsOf(id: Uint8Array): Uint16Array {
  const limbs = new Uint16Array(LIMBS)
  for (let limb = 0; limb < LIMBS; limb++) {
    limbs[limb] = (id[2 * limb] ?? 0) | ((id[2 * limb + 1] ?? 0) << 8)
  }
  return limbs
}
