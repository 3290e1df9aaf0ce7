/** A set of piece numbers from 0 up to a fixed length, one bit each, with its count at hand. */
export class Bits {
  readonly length: number
  readonly words: Uint32Array
  #count = 0

  constructor(length: number) {
    this.length = length
    this.words = new Uint32Array((length + 31) >>> 5)
  }

  static full(length: number): Bits {
    const bits = new Bits(length)
    for (let index = 0; index < length; index++) bits.add(index)
    return bits
  }

  get count(): number {
    return this.#count
  }

  get isFull(): boolean {
    return this.#count === this.length
  }

  has(index: number): boolean {
    return (((this.words[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1
  }

  /** Whether it was absent. A number outside the length is ignored: peers choose what they send. */
  add(index: number): boolean {
    if (index < 0 || index >= this.length || this.has(index)) return false
    this.words[index >>> 5] = (this.words[index >>> 5] ?? 0) | (1 << (index & 31))
    this.#count++
    return true
  }

  /** Whether it was present. */
  delete(index: number): boolean {
    if (index < 0 || index >= this.length || !this.has(index)) return false
    this.words[index >>> 5] = (this.words[index >>> 5] ?? 0) & ~(1 << (index & 31))
    this.#count--
    return true
  }

  copy(): Bits {
    const bits = new Bits(this.length)
    bits.words.set(this.words)
    bits.#count = this.#count
    return bits
  }

  *[Symbol.iterator](): IterableIterator<number> {
    for (let index = 0; index < this.length; index++) if (this.has(index)) yield index
  }
}
