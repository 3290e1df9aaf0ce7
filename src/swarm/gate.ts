/** Counts who is inside, bounded in all and for each visitor; nobody waits, a full gate refuses. */
export class Gate {
  readonly #max: number
  readonly #maxEach: number
  readonly #inside = new Map<string, number>()
  #total = 0

  constructor(max: number, maxEach: number) {
    this.#max = max
    this.#maxEach = maxEach
  }

  /** Lets a visitor in and gives the function to call once, when it leaves; `undefined` when full. */
  enter(visitor: string): (() => void) | undefined {
    const inside = this.#inside.get(visitor) ?? 0
    if (this.#total >= this.#max || inside >= this.#maxEach) return undefined
    this.#total++
    this.#inside.set(visitor, inside + 1)
    return () => this.#leave(visitor)
  }

  #leave(visitor: string): void {
    this.#total--
    const left = (this.#inside.get(visitor) ?? 0) - 1
    if (left > 0) this.#inside.set(visitor, left)
    else this.#inside.delete(visitor)
  }
}
