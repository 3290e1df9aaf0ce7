import { HASH_BYTES } from '../piece-size.ts'

/** A first allotment; it doubles, since most pushes have far fewer pieces than they could. */
const FIRST_PIECES = 256

/** A dispute costs some memory; beyond it the digest of the whole has to find that all is wrong. */
const MAX_DISPUTED = 8_192

/**
 * What the pieces of one blob hash to: as this node found for those it holds, and as each neighbour
 * says. All honest ones say the same, so the first word on a piece is kept, and who dissents.
 */
export class Claims {
  readonly #held = new HashArray()
  readonly #first = new HashArray()
  /** By piece, what those say who disagree with the first word on it. */
  readonly #dissent = new Map<number, Map<string, Uint8Array>>()
  /** Who gave the first word on each piece that is in dispute or not; one entry a piece. */
  readonly #speakers = new Map<number, string>()

  /** A neighbour says what a piece hashes to. */
  hear(peer: string, piece: number, hash: Uint8Array): void {
    const first = this.#first.get(piece)
    if (first === undefined) {
      this.#first.set(piece, hash)
      this.#speakers.set(piece, peer)
    }
    const agrees = first === undefined || Buffer.compare(first, hash) === 0
    const dissenters = this.#dissent.get(piece)
    if (agrees) {
      dissenters?.delete(peer)
      if (dissenters?.size === 0) this.#dissent.delete(piece)
      return
    }
    if (dissenters === undefined && this.#dissent.size >= MAX_DISPUTED) return
    if (dissenters === undefined) this.#dissent.set(piece, new Map([[peer, hash.slice()]]))
    else dissenters.set(peer, hash.slice())
  }

  /** What a neighbour that announced a piece says of it. */
  of(peer: string, piece: number): Uint8Array | undefined {
    return this.#dissent.get(piece)?.get(peer) ?? this.#first.get(piece)
  }

  /** This node has a piece that hashes to this. */
  hold(piece: number, hash: Uint8Array): void {
    this.#held.set(piece, hash)
  }

  /** A piece is not held any more. */
  release(piece: number): void {
    this.#held.set(piece, NONE)
  }

  /** The hashes of pieces that are held, in their order. */
  held(pieces: readonly number[]): Uint8Array {
    return Buffer.concat(pieces.map(piece => this.#held.get(piece) ?? NONE))
  }

  /** The hash of a piece that is held. */
  heldHash(piece: number): Uint8Array | undefined {
    return this.#held.get(piece)
  }

  /** The pieces on which neighbours disagree. */
  disputed(): number[] {
    return [...this.#dissent.keys()]
  }

  /** Everyone who has said something that another denies, those who were denied most often first. */
  suspects(): string[] {
    const denied = new Map<string, number>()
    const count = (peer: string) => denied.set(peer, (denied.get(peer) ?? 0) + 1)
    for (const [piece, dissenters] of this.#dissent) {
      const speaker = this.#speakers.get(piece)
      if (speaker !== undefined) count(speaker)
      for (const peer of dissenters.keys()) count(peer)
    }
    return [...denied].sort((a, b) => b[1] - a[1]).map(([peer]) => peer)
  }

  /** The held pieces that are as this neighbour, and not everyone, says they should be. */
  restsOn(peer: string): number[] {
    return this.disputed().filter(piece => {
      const [held, said] = [this.#held.get(piece), this.of(peer, piece)]
      return held !== undefined && said !== undefined && Buffer.compare(held, said) === 0
    })
  }
}

const NONE = Buffer.alloc(HASH_BYTES)

/** One hash a number; all zeros is none. */
class HashArray {
  #bytes = Buffer.alloc(FIRST_PIECES * HASH_BYTES)

  get(index: number): Uint8Array | undefined {
    const at = index * HASH_BYTES
    if (at >= this.#bytes.length) return undefined
    const hash = this.#bytes.subarray(at, at + HASH_BYTES)
    return hash.equals(NONE) ? undefined : hash
  }

  set(index: number, hash: Uint8Array): void {
    const end = (index + 1) * HASH_BYTES
    if (end > this.#bytes.length) {
      const larger = Buffer.alloc(2 ** Math.ceil(Math.log2(end)))
      larger.set(this.#bytes)
      this.#bytes = larger
    }
    this.#bytes.set(hash, index * HASH_BYTES)
  }
}
