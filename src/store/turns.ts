/** Lets tasks of the same key run one after the other, and those of other keys beside them. */
export class Turns<Key> {
  readonly #last = new Map<Key, Promise<unknown>>()

  /** Runs the task once all earlier ones of this key have ended, however they ended. */
  async take<Result>(key: Key, task: () => Promise<Result>): Promise<Result> {
    const before = this.#last.get(key) ?? Promise.resolve()
    const mine = before.then(task)
    const ended = mine.then(ignore, ignore)
    this.#last.set(key, ended)
    try {
      return await mine
    } finally {
      if (this.#last.get(key) === ended) this.#last.delete(key)
    }
  }
}

function ignore(): void {}
