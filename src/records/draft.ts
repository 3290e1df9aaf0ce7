import { type Heads, type Merged, mergeInto } from './merge.ts'
import type { StampedRecord } from './record.ts'
import { type RegisterName, registerName } from './register.ts'

/** What a commit does to one register. */
export interface RegisterChange {
  readonly name: RegisterName
  readonly before: Heads
  readonly heads: Heads
}

/** Where a draft reads the registers that it has not touched. */
export interface HeadsSource {
  heads(name: RegisterName): Promise<Heads>
  headsOf(names: readonly RegisterName[]): Promise<readonly Heads[]>
}

/** Merges that are worked out but not yet durable; later ones see earlier ones. */
export class Draft {
  readonly #source: HeadsSource
  readonly #registers = new Map<RegisterName, { before: Heads; heads: Heads }>()
  #added = 0

  constructor(source: HeadsSource) {
    this.#source = source
  }

  /** Records added, whether or not a later one of this draft replaced them. */
  get added(): number {
    return this.#added
  }

  async heads(name: RegisterName): Promise<Heads> {
    return (await this.#load(name)).heads
  }

  /** Reads registers that are about to be merged into: all at once is several times as fast. */
  async load(names: Iterable<RegisterName>): Promise<void> {
    const unknown = [...new Set(names)].filter(name => !this.#registers.has(name))
    const found = await this.#source.headsOf(unknown)
    for (const [i, name] of unknown.entries()) {
      const heads = found[i] ?? []
      this.#registers.set(name, { before: heads, heads })
    }
  }

  async merge(record: StampedRecord): Promise<Merged & { readonly before: Heads }> {
    const register = await this.#load(registerName(record))
    const before = register.heads
    const merged = mergeInto(before, record)
    register.heads = merged.heads
    if (merged.added) this.#added++
    return { ...merged, before }
  }

  /** Takes records out of a register though nothing replaces them. */
  async drop(name: RegisterName, isDropped: (head: StampedRecord) => boolean): Promise<void> {
    const register = await this.#load(name)
    if (register.heads.some(isDropped)) {
      register.heads = register.heads.filter(head => !isDropped(head))
    }
  }

  /** The registers that are no longer as they were. */
  changes(): RegisterChange[] {
    return [...this.#registers]
      .filter(([, { before, heads }]) => before !== heads)
      .map(([name, register]) => ({ name, ...register }))
  }

  async #load(name: RegisterName): Promise<{ before: Heads; heads: Heads }> {
    const known = this.#registers.get(name)
    if (known !== undefined) return known
    const heads = await this.#source.heads(name)
    const register = { before: heads, heads }
    this.#registers.set(name, register)
    return register
  }
}
