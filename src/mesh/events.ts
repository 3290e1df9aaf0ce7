/** Listeners by event name, typed: `Events<{ live: [id: string] }>`. */
export class Events<Map extends Record<keyof Map, readonly unknown[]>> {
  readonly #listeners: { [Name in keyof Map]?: Set<(...values: Map[Name]) => void> } = {}

  /** Adds a listener and gives the function that removes it. */
  on<Name extends keyof Map>(name: Name, listener: (...values: Map[Name]) => void): () => void {
    const listeners = this.#listeners[name] ?? new Set()
    this.#listeners[name] = listeners
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** Calls the listeners in the order in which they were added. They must not throw. */
  emit<Name extends keyof Map>(name: Name, ...values: Map[Name]): void {
    for (const listener of [...(this.#listeners[name] ?? [])]) listener(...values)
  }
}
