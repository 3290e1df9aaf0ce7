import type { Random } from '../../../src/clock.ts'

export type Operation =
  | { readonly type: 'put'; readonly key: Uint8Array; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Uint8Array }

export interface Range {
  readonly gte?: Uint8Array
  readonly gt?: Uint8Array
  readonly lt?: Uint8Array
  readonly lte?: Uint8Array
  readonly limit?: number
  readonly reverse?: boolean
}

/** LevelDB writes back what is older than this many batches by itself, sooner or later. */
const MAX_UNSYNCED = 64

/** The entries of one Level, on the disk of a simulated machine. Keys are held as binary text. */
export class LevelStore {
  #entries = new Map<string, Buffer>()
  #sorted: readonly string[] | undefined
  /** For each batch that was not synced, oldest first: what it replaced. */
  readonly #undo: Map<string, Buffer | undefined>[] = []

  get(key: Uint8Array): Buffer | undefined {
    return this.#entries.get(textOf(key))
  }

  apply(operations: readonly Operation[], isSynced: boolean): void {
    const before = new Map<string, Buffer | undefined>()
    for (const operation of operations) {
      const key = textOf(operation.key)
      if (!before.has(key)) before.set(key, this.#entries.get(key))
      this.#set(key, operation.type === 'put' ? Buffer.from(operation.value) : undefined)
    }
    this.#undo.push(before)
    if (isSynced) this.#undo.length = 0
    else if (this.#undo.length > MAX_UNSYNCED) this.#undo.shift()
  }

  /** The entries of a range, in byte order, as they are now. */
  entries(range: Range): [Buffer, Buffer][] {
    const { gte, gt, lt, lte, reverse, limit } = range
    this.#sorted ??= [...this.#entries.keys()].sort()
    const from = lowerBound(this.#sorted, gte ?? gt, gte === undefined && gt !== undefined)
    const to =
      lt === undefined && lte === undefined
        ? this.#sorted.length
        : lowerBound(this.#sorted, lt ?? lte, lt === undefined)
    const keys = this.#sorted.slice(from, Math.max(from, to))
    if (reverse) keys.reverse()
    const some = limit === undefined || limit < 0 ? keys : keys.slice(0, limit)
    return some.map(key => [Buffer.from(key, 'latin1'), this.#entries.get(key) ?? Buffer.alloc(0)])
  }

  /** The log is written in order, so a power cut takes the last batches, or none. */
  losePower(random: Random): void {
    const kept = Math.floor(random() * (this.#undo.length + 1))
    for (const before of this.#undo.splice(kept).reverse()) {
      for (const [key, value] of before) this.#set(key, value)
    }
    this.#undo.length = 0
  }

  #set(key: string, value: Buffer | undefined): void {
    const had = this.#entries.has(key)
    if (value === undefined) this.#entries.delete(key)
    else this.#entries.set(key, value)
    if (had !== (value !== undefined)) this.#sorted = undefined
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}

/** The first place whose key is not below `bound`, or with `after` is above it. */
function lowerBound(
  keys: readonly string[],
  bound: Uint8Array | undefined,
  after: boolean
): number {
  if (bound === undefined) return 0
  const text = textOf(bound)
  let [low, high] = [0, keys.length]
  while (low < high) {
    const middle = (low + high) >> 1
    const key = keys[middle] ?? ''
    if (key < text || (after && key === text)) low = middle + 1
    else high = middle
  }
  return low
}
