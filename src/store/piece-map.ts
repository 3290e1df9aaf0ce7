/** Which pieces of a blob are there, and where each lies. */
export class PieceMap {
  /** Of every piece but the last. */
  readonly pieceBytes: number
  /** Of the whole blob; `undefined` while nobody knows. */
  sizeBytes: number | undefined
  /** With the SHA-256 of each. */
  readonly #held: Map<number, Buffer>

  constructor(pieceBytes: number, sizeBytes: number | undefined, held: Map<number, Buffer>) {
    this.pieceBytes = pieceBytes
    this.sizeBytes = sizeBytes
    this.#held = held
  }

  get isWhole(): boolean {
    return this.sizeBytes !== undefined && this.heldBytes === this.sizeBytes
  }

  get heldBytes(): number {
    const all = this.#held.size * this.pieceBytes
    if (this.sizeBytes === undefined) return all
    const count = Math.ceil(this.sizeBytes / this.pieceBytes)
    return this.#held.has(count - 1) ? all - (count * this.pieceBytes - this.sizeBytes) : all
  }

  has(piece: number): boolean {
    return this.#held.has(piece)
  }

  hashOf(piece: number): Buffer | undefined {
    return this.#held.get(piece)
  }

  entries(): IterableIterator<[number, Buffer]> {
    return this.#held.entries()
  }

  add(piece: number, hash: Buffer): void {
    this.#held.set(piece, hash)
  }

  /** Whether it was there. */
  delete(piece: number): boolean {
    return this.#held.delete(piece)
  }

  startOf(piece: number): number {
    return piece * this.pieceBytes
  }

  endOf(piece: number): number {
    return Math.min(this.startOf(piece + 1), this.sizeBytes ?? Number.POSITIVE_INFINITY)
  }

  /** The end of the piece that a position is in; the position itself when that piece is not held. */
  reach(position: number): number {
    const piece = Math.floor(position / this.pieceBytes)
    return this.#held.has(piece) ? this.endOf(piece) : position
  }
}
