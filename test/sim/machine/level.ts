import type { Disk } from './disk.ts'
import type { LevelStore, Operation, Range } from './level-store.ts'
import { activeWorld } from './world.ts'

interface Snapshot {
  close(): Promise<void>
  readonly entries: (range: Range) => [Buffer, Buffer][]
}

type IterationOptions = Range & { readonly snapshot?: Snapshot }

/**
 * What stands in for the package `level` on a simulated machine: as much of its interface as the
 * code under `src` uses, with buffers for keys and values.
 */
export class Level {
  readonly location: string
  readonly #disk: Disk
  readonly #store: LevelStore

  constructor(location: string) {
    const disk = activeWorld()?.host?.disk
    if (disk === undefined) throw new Error('an index is opened on no machine')
    this.location = location
    this.#disk = disk
    this.#store = disk.level(location)
  }

  async open(): Promise<void> {}

  async close(): Promise<void> {}

  async get(key: Uint8Array): Promise<Buffer | undefined> {
    return this.#store.get(key)
  }

  async getMany(keys: readonly Uint8Array[]): Promise<(Buffer | undefined)[]> {
    return keys.map(key => this.#store.get(key))
  }

  async batch(operations: readonly Operation[], { sync = false } = {}): Promise<void> {
    await this.#disk.change()
    this.#store.apply(operations, sync)
  }

  async put(key: Uint8Array, value: Uint8Array): Promise<void> {
    await this.batch([{ type: 'put', key, value }])
  }

  async del(key: Uint8Array): Promise<void> {
    await this.batch([{ type: 'del', key }])
  }

  iterator(options: IterationOptions = {}) {
    return iteration(this.#entries(options))
  }

  keys(options: IterationOptions = {}) {
    return iteration(this.#entries(options).map(([key]) => key))
  }

  values(options: IterationOptions = {}) {
    return iteration(this.#entries(options).map(([, value]) => value))
  }

  snapshot(): Snapshot {
    const all = this.#store.entries({})
    const isWithin = (range: Range, [key]: [Buffer, Buffer]) =>
      (range.gte === undefined || Buffer.compare(key, range.gte) >= 0) &&
      (range.lt === undefined || Buffer.compare(key, range.lt) < 0)
    return {
      close: async () => undefined,
      entries: range => all.filter(entry => isWithin(range, entry))
    }
  }

  #entries({ snapshot, ...range }: IterationOptions): [Buffer, Buffer][] {
    return snapshot?.entries(range) ?? this.#store.entries(range)
  }
}

function iteration<Item>(items: readonly Item[]) {
  let at = 0
  return {
    all: async () => items.slice(at),
    next: async () => items[at++],
    nextv: async (size: number) => {
      const some = items.slice(at, at + size)
      at += size
      return some
    },
    close: async () => undefined,
    async *[Symbol.asyncIterator]() {
      while (at < items.length) {
        const item = items[at++]
        if (item !== undefined) yield item
      }
    }
  }
}
