/** A set of piece numbers from 0 up to a length, one bit each, with its count at hand. */
export class Bits {
  readonly words: Uint32Array
  #length: number
  #count = 0
  #end = 0

  constructor(length: number) {
    this.#length = length
    this.words = new Uint32Array((length + 31) >>> 5)
  }

  static full(length: number): Bits {
    const bits = new Bits(length)
    for (let index = 0; index < length; index++) bits.add(index)
    return bits
  }

  /** Reads what {@link toBytes} wrote; bits beyond the length are ignored. */
  static fromBytes(bytes: Uint8Array, length: number): Bits {
    const bits = new Bits(length)
    for (const [at, byte] of bytes.entries()) {
      for (let left = byte; left !== 0; left &= left - 1) {
        bits.add(8 * at + 31 - Math.clz32(left & -left))
      }
    }
    return bits
  }

  get length(): number {
    return this.#length
  }

  get count(): number {
    return this.#count
  }

  /** No number from here on has ever been present: a push has far fewer pieces than it could. */
  get end(): number {
    return this.#end
  }

  get isFull(): boolean {
    return this.#count === this.#length
  }

  has(index: number): boolean {
    return (((this.words[index >>> 5] ?? 0) >>> (index & 31)) & 1) === 1
  }

  /** Whether it was absent. A number outside the length is ignored: peers choose what they send. */
  add(index: number): boolean {
    if (index < 0 || index >= this.length || this.has(index)) return false
    this.words[index >>> 5] = (this.words[index >>> 5] ?? 0) | (1 << (index & 31))
    this.#count++
    if (index >= this.#end) this.#end = index + 1
    return true
  }

  /** Whether it was present. */
  delete(index: number): boolean {
    if (index < 0 || index >= this.length || !this.has(index)) return false
    this.words[index >>> 5] = (this.words[index >>> 5] ?? 0) & ~(1 << (index & 31))
    this.#count--
    return true
  }

  /** Lowers the length: what lies beyond it is absent from now on. */
  shrink(length: number): void {
    for (const index of this) if (index >= length) this.delete(index)
    this.#length = Math.min(this.#length, length)
    this.#end = Math.min(this.#end, length)
  }

  copy(): Bits {
    const bits = new Bits(this.length)
    bits.words.set(this.words.subarray(0, bits.words.length))
    bits.#count = this.#count
    bits.#end = this.#end
    return bits
  }

  /** One bit a number, the lowest first. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array((this.#end + 7) >>> 3)
    for (const index of this) bytes[index >>> 3] = (bytes[index >>> 3] ?? 0) | (1 << (index & 7))
    return bytes
  }

  /** In order. */
  *[Symbol.iterator](): IterableIterator<number> {
    for (let index = 0; index < this.#end; index++) {
      if (this.words[index >>> 5] === 0) index |= 31
      else if (this.has(index)) yield index
    }
  }
}
