type Close = () => Promise<void> | void

/** How to close what has been opened, in the reverse order. */
export class Closers {
  readonly #closers: Close[] = []

  /** Has a part closed, also when what is opened after it fails. */
  closing<T extends { close(): Promise<void> | void }>(part: T): T {
    this.add(() => part.close())
    return part
  }

  add(close: Close): void {
    this.#closers.push(close)
  }

  /** Closes all, each once, and gives what failed to close; that keeps nothing else open. */
  async close(): Promise<readonly unknown[]> {
    const failures: unknown[] = []
    for (const close of this.#closers.splice(0).reverse()) {
      try {
        await close()
      } catch (error) {
        failures.push(error)
      }
    }
    return failures
  }
}
