import type { Applied } from './records.ts'

/** Ids remembered, 32 bytes each and some for who brought it: at most some 5 MB. */
const MAX_ENTRIES = 65_536

interface Entry {
  readonly id: Uint8Array
  /** The peer that brought the record, which need not have it back. */
  from: string | undefined
}

/**
 * The records that this process applied of late, in order. A neighbour that was away for a while
 * is given what it missed straight from here, where reconciliation by ranges would first have to
 * find out what that is. Losing it costs nothing but that search.
 */
export class DeltaLog {
  readonly #maxEntries: number
  readonly #entries: Entry[] = []
  /** The sequence of the first entry. */
  #first = 1

  constructor(maxEntries = MAX_ENTRIES) {
    this.#maxEntries = maxEntries
  }

  /** The sequence of the last record applied. */
  get last(): number {
    return this.#first + this.#entries.length - 1
  }

  /** Takes in what was applied, in the order of its sequence. */
  add(applied: readonly Applied[]): void {
    for (const { id, sequence } of applied) {
      if (this.#entries.length === 0) this.#first = sequence
      this.#entries.push({ id: Buffer.from(id, 'hex'), from: undefined })
    }
    // In one go now and then, since taking from the front moves all the rest.
    if (this.#entries.length < 1.25 * this.#maxEntries) return
    this.#first += this.#entries.splice(0, this.#entries.length - this.#maxEntries).length
  }

  /** Remembers who brought these records. */
  cameFrom(peer: string, applied: readonly { readonly sequence: number }[]): void {
    for (const { sequence } of applied) {
      const entry = this.#entries[sequence - this.#first]
      if (entry !== undefined) entry.from = peer
    }
  }

  /**
   * The ids of up to `limit` records applied after a sequence, without those that a peer brought
   * itself, and how far they reach; `undefined` when the log no longer, or not yet, knows.
   */
  since(
    sequence: number,
    limit: number,
    peer?: string
  ): { readonly ids: readonly Uint8Array[]; readonly upTo: number } | undefined {
    if (sequence > this.last || sequence < this.#first - 1) return undefined
    const ids: Uint8Array[] = []
    let upTo = sequence
    while (upTo < this.last && ids.length < limit) {
      const entry = this.#entries[++upTo - this.#first]
      if (entry !== undefined && (peer === undefined || entry.from !== peer)) ids.push(entry.id)
    }
    return { ids, upTo }
  }
}
