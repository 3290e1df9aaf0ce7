/**
 * Keeps what was used last, up to a total weight. What alone would take up more than a sixteenth
 * of that is not kept, so that one large value cannot push out all the small ones.
 */
export class Cache<Key, Value> {
  readonly #maxWeight: number
  readonly #weigh: (value: Value) => number
  /** In the order of use, the latest last. */
  readonly #values = new Map<Key, Value>()
  #latest: Key | undefined
  #weight = 0

  constructor(maxWeight: number, weigh: (value: Value) => number) {
    this.#maxWeight = maxWeight
    this.#weigh = weigh
  }

  get(key: Key): Value | undefined {
    const value = this.#values.get(key)
    // A manifest is asked for again and again: to move it each time costs a twentieth of its answer
    // (`bench manifests`).
    if (value === undefined || key === this.#latest) return value
    this.#values.delete(key)
    this.#values.set(key, value)
    this.#latest = key
    return value
  }

  set(key: Key, value: Value): void {
    this.delete(key)
    const weight = this.#weigh(value)
    if (weight > this.#maxWeight / 16) return
    this.#values.set(key, value)
    this.#latest = key
    this.#weight += weight
    for (const oldest of this.#values.keys()) {
      if (this.#weight <= this.#maxWeight) return
      this.delete(oldest)
    }
  }

  delete(key: Key): void {
    const value = this.#values.get(key)
    if (value === undefined) return
    this.#values.delete(key)
    this.#weight -= this.#weigh(value)
  }
}
