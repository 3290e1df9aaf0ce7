import type { IndexLevel } from './index-level.ts'

/**
 * The level that an index is read from, which may be closed and replaced. What is asked meanwhile
 * waits for the next one, and what was being read is read again there.
 */
export class CurrentLevel {
  #level: Promise<IndexLevel>

  constructor(level: IndexLevel) {
    this.#level = Promise.resolve(level)
  }

  /** The level, as soon as there is one. Throws why there is none. */
  get now(): Promise<IndexLevel> {
    return this.#level
  }

  /** Goes on with another level, which may yet be opened, and may fail to be. */
  replace(level: Promise<IndexLevel>): void {
    this.#level = level
    level.catch(() => undefined)
  }

  async read<T>(read: (level: IndexLevel) => Promise<T>): Promise<T> {
    for (;;) {
      const opened = this.#level
      const level = await opened
      try {
        return await read(level)
      } catch (error) {
        if (opened === this.#level) throw error
      }
    }
  }

  /** The values of a range of keys, as they are when it begins, or in another level goes on. */
  async *values(range: { gte: Buffer; lt: Buffer }): AsyncGenerator<Buffer, void> {
    let left: { gte: Buffer; lt: Buffer } | { gt: Buffer; lt: Buffer } = range
    for (;;) {
      const opened = this.#level
      const level = await opened
      try {
        for await (const [key, value] of level.iterator(left)) {
          left = { gt: key, lt: range.lt }
          yield value
        }
        return
      } catch (error) {
        if (opened === this.#level) throw error
      }
    }
  }

  async close(): Promise<void> {
    const level = await this.#level.catch(() => undefined)
    await level?.close()
  }
}
