/** What is tried again a while later, unless it is closed before. */
export class Retries {
  readonly #afterMs: number
  readonly #timers = new Set<NodeJS.Timeout>()

  constructor(afterMs: number) {
    this.#afterMs = afterMs
  }

  later(task: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      task()
    }, this.#afterMs).unref()
    this.#timers.add(timer)
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers.clear()
  }
}
