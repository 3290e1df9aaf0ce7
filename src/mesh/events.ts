/** Listeners by event name, typed: `Events<{ live: [id: string] }>`. */
export class Events<Values extends Record<keyof Values, readonly unknown[]>> {
  readonly #listeners: { [Name in keyof Values]?: Set<(...values: Values[Name]) => void> } = {}

  /** Adds a listener and gives the function that removes it. */
  on<Name extends keyof Values>(
    name: Name,
    listener: (...values: Values[Name]) => void
  ): () => void {
    const listeners = this.#listeners[name] ?? new Set()
    this.#listeners[name] = listeners
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** Calls the listeners in the order in which they were added. They must not throw. */
  emit<Name extends keyof Values>(name: Name, ...values: Values[Name]): void {
    for (const listener of [...(this.#listeners[name] ?? [])]) listener(...values)
  }
}
