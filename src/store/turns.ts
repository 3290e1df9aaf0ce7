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

  /** As {@link take}, when it is the turn of all these keys, each of which is given once. */
  async takeAll<Result>(keys: Iterable<Key>, task: () => Promise<Result>): Promise<Result> {
    const ended = Promise.withResolvers<void>()
    // Who takes several keys stands in all their lines at one moment, so no two wait for each other.
    const turns = Array.from(keys, key => {
      const turn = Promise.withResolvers<void>()
      void this.take(key, () => {
        turn.resolve()
        return ended.promise
      })
      return turn.promise
    })
    try {
      await Promise.all(turns)
      return await task()
    } finally {
      ended.resolve()
    }
  }

  /** Waits for all tasks that have been given a turn by now. */
  async over(): Promise<void> {
    await Promise.allSettled(this.#last.values())
  }
}

function ignore(): void {}
