/** Below this many items taken it is not worth moving those that are left. */
const MIN_SHIFT = 1_024

/**
 * A line of distinct items, first come first served, in constant time each: the front of a `Set` or
 * an `Array` of a hundred thousand is slow to take from.
 */
export class Fifo<Item> {
  readonly #waiting = new Set<Item>()
  #items: Item[] = []
  #head = 0

  /** Adds an item at the end, unless it stands in line already. */
  push(item: Item): void {
    if (this.#waiting.has(item)) return
    this.#waiting.add(item)
    this.#items.push(item)
  }

  /** Takes the first item; `undefined` when there is none. */
  shift(): Item | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#waiting.delete(item)
    this.#head += 1
    if (this.#head >= MIN_SHIFT && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }
}
