import type { Records } from '../records/records.ts'

/** Heartbeats are seconds old: so many of our own past roots are enough to place theirs. */
const MAX_ROOTS = 4_096

/**
 * The roots that this node's records have had of late, each with how far in our records it stood. A
 * peer whose root is among them has nothing that this node lacks.
 */
export class Roots {
  readonly #records: Pick<Records, 'root' | 'sequence' | 'onApplied'>
  readonly #sequences = new Map<string, number>()
  readonly #unsubscribe: () => void

  constructor(records: Pick<Records, 'root' | 'sequence' | 'onApplied'>) {
    this.#records = records
    this.#remember()
    this.#unsubscribe = records.onApplied(() => this.#remember())
  }

  /** The sequence of our records when they had this root; `undefined` when they never had, or long ago. */
  sequenceOf(root: string): number | undefined {
    return this.#sequences.get(root)
  }

  close(): void {
    this.#unsubscribe()
  }

  #remember(): void {
    const { hash } = this.#records.root()
    this.#sequences.delete(hash)
    this.#sequences.set(hash, this.#records.sequence())
    if (this.#sequences.size <= MAX_ROOTS) return
    for (const oldest of this.#sequences.keys()) {
      this.#sequences.delete(oldest)
      break
    }
  }
}
