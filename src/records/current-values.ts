import { Cache } from '../cache.ts'
import type { RecordIndex } from './index.ts'
import { type RegisterName, registerName } from './register.ts'
import { currentValue, type Value } from './values.ts'

/** Names that were asked for last, a few hundred bytes each. */
const MAX_CACHED_VALUES = 16_384

/** What registers say now, with those in memory that were asked for last. */
export class CurrentValues {
  readonly #index: RecordIndex
  readonly #values = new Cache<RegisterName, Value>(MAX_CACHED_VALUES, () => 1)
  #changes = 0

  constructor(index: RecordIndex) {
    this.#index = index
  }

  async get<K extends Value['kind']>(
    kind: K,
    key: string
  ): Promise<Extract<Value, { kind: K }> | undefined> {
    const value = await this.#get(registerName({ kind, key }))
    return value?.kind === kind ? (value as Extract<Value, { kind: K }>) : undefined
  }

  /** A commit changed this register. */
  changed(register: { readonly kind: string; readonly key: string }): void {
    this.#values.delete(registerName(register))
    this.#changes++
  }

  async #get(name: RegisterName): Promise<Value | undefined> {
    const cached = this.#values.get(name)
    if (cached !== undefined) return cached
    const changes = this.#changes
    const value = currentValue(await this.#index.heads(name))
    // A commit meanwhile may have been to this name, which was read before it.
    if (value !== undefined && changes === this.#changes) this.#values.set(name, value)
    return value
  }
}
