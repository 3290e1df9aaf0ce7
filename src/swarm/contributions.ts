import { createHash, type Hash } from 'node:crypto'
import type { Holder } from './fetcher.ts'

/** Bytes of a blob that came from one holder; `undefined` if they were there before we began. */
export interface Contribution {
  readonly holder: Holder | undefined
  readonly start: number
  readonly end: number
  /** SHA-256 in hex; not taken of the first contribution, see {@link Replay}. */
  readonly hash: string | undefined
}

interface Running {
  readonly holder: Holder | undefined
  readonly start: number
  end: number
  readonly hash: Hash | undefined
}

/**
 * Who gave which bytes of what the sink has. The first contribution is not hashed, so a blob from
 * one holder, nearly every blob, is not hashed a second time.
 */
export class Contributions {
  readonly #parts: Running[] = []

  constructor(offset: number) {
    if (offset > 0) this.#parts.push({ holder: undefined, start: 0, end: offset, hash: undefined })
  }

  add(holder: Holder, chunk: Uint8Array): void {
    let part = this.#parts.at(-1)
    if (part === undefined || part.holder?.id !== holder.id) {
      const hash = part === undefined ? undefined : createHash('sha256')
      const start = part?.end ?? 0
      part = { holder, start, end: start, hash }
      this.#parts.push(part)
    }
    part.end += chunk.length
    part.hash?.update(chunk)
  }

  /** The holders, each once, in the order in which they came in. */
  holders(): readonly Holder[] {
    const byId = new Map<string, Holder>()
    for (const { holder } of this.#parts) if (holder !== undefined) byId.set(holder.id, holder)
    return [...byId.values()]
  }

  /** The one holder that gave every byte, if there is one. */
  sole(): Holder | undefined {
    const [first] = this.#parts
    return this.#parts.length === 1 ? first?.holder : undefined
  }

  /** What was given, at the moment when its verification failed. */
  finish(): readonly Contribution[] {
    return this.#parts.map(({ holder, start, end, hash }) => ({
      holder,
      start,
      end,
      hash: hash?.digest('hex')
    }))
  }
}

/**
 * Compares the contributions of a blob that failed its verification with the bytes of a later try,
 * as they come in. Once those are verified, it is known who gave wrong ones: those whose bytes
 * differ, and the first, whose bytes were not hashed, when nobody else's do.
 */
export class Replay {
  readonly #parts: readonly (Contribution & { readonly replayed: Hash })[]
  #offset = 0

  constructor(contributions: readonly Contribution[]) {
    this.#parts = contributions.map(part => ({ ...part, replayed: createHash('sha256') }))
  }

  add(chunk: Uint8Array): void {
    const from = this.#offset
    this.#offset += chunk.length
    for (const { start, end, replayed } of this.#parts) {
      if (end <= from || start >= this.#offset) continue
      replayed.update(chunk.subarray(Math.max(0, start - from), end - from))
    }
  }

  /** To be asked once, when the bytes added are the whole blob, verified. */
  liars(): readonly Holder[] {
    const wrong = this.#parts.filter(
      ({ hash, replayed }) => hash !== undefined && hash !== replayed.digest('hex')
    )
    const blamed = wrong.length > 0 ? wrong : this.#parts.slice(0, 1)
    return blamed.flatMap(({ holder }) => holder ?? [])
  }
}
