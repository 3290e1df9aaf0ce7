import type { Log } from '../log.ts'

/** Those who want to hear of something; a listener that throws is logged and hurts nobody else. */
export class Listeners<Args extends readonly unknown[]> {
  readonly #all = new Set<(...args: Args) => void>()
  readonly #log: Log

  constructor(log: Log) {
    this.#log = log
  }

  /** Adds a listener; the function given back removes it. */
  add(listener: (...args: Args) => void): () => void {
    this.#all.add(listener)
    return () => this.#all.delete(listener)
  }

  tell(...args: Args): void {
    for (const listener of [...this.#all]) {
      try {
        listener(...args)
      } catch (error) {
        this.#log.error({ err: error }, 'listener failed')
      }
    }
  }
}
