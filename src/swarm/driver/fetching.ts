import type { Readable } from 'node:stream'
import type { Digest } from '../../digest.ts'
import type { Event, Urgency } from '../schedule/messages.ts'
import type { Ending, Part } from './part.ts'

export interface FetchingOptions {
  readonly digest: Digest
  readonly urgency: Urgency
  readonly tell: (event: Event) => void
  readonly nameOf: (peer: string) => string
}

/** One blob on its way here in pieces, for whoever waits for it. */
export class Fetching {
  readonly digest: Digest
  /** Settles when the size is known; with `undefined` when the neighbours know nothing of it. */
  readonly opened: Promise<{ readonly sizeBytes: number } | undefined>
  readonly ended: Promise<Ending>
  readonly #options: FetchingOptions
  readonly #open = Promise.withResolvers<{ readonly sizeBytes: number } | undefined>()
  readonly #end = Promise.withResolvers<Ending>()
  #part: Part | undefined
  #urgency: Urgency
  /** The byte from which on somebody waits for it. */
  #awaitedFrom: number | undefined

  constructor(options: FetchingOptions) {
    this.#options = options
    this.digest = options.digest
    this.#urgency = options.urgency
    this.opened = this.#open.promise
    this.ended = this.#end.promise
  }

  get part(): Part | undefined {
    return this.#part
  }

  get doneBytes(): number {
    return this.#part?.doneBytes ?? 0
  }

  /** Names of the nodes that gave pieces. */
  get from(): readonly string[] {
    return [...(this.#part?.from ?? [])].map(this.#options.nameOf)
  }

  /** It comes by this part; the size is known. */
  join(part: Part): void {
    this.#part = part
    if (part.sizeBytes !== undefined) this.#open.resolve({ sizeBytes: part.sizeBytes })
    void part.ended.promise.then(ending => this.end(ending))
    this.urge(this.#urgency)
    if (this.#awaitedFrom !== undefined) this.hurry(this.#awaitedFrom)
  }

  end(ending: Ending): void {
    this.#open.resolve(undefined)
    this.#end.resolve(ending)
  }

  /** It is at least so urgent from now on. */
  urge(urgency: Urgency): void {
    this.#urgency = urgency
    if (this.#part !== undefined) {
      this.#options.tell({ kind: 'urge', blob: this.#part.key, urgency })
    }
  }

  /** A client waits for the bytes from this one on: they go before everything else, in order. */
  hurry(startBytes: number): void {
    this.#awaitedFrom = startBytes
    if (this.#part === undefined) return
    const cursor = Math.floor(startBytes / this.#part.pieceBytes)
    this.#options.tell({ kind: 'await', blob: this.#part.key, cursor })
  }

  /** A stream that grows with it; `undefined` when its bytes are not in a file of pieces (now). */
  follow(range: { sizeBytes: number; start?: number; end?: number }): Readable | undefined {
    const source = this.#part?.source
    if (source?.kind !== 'file' || this.#part?.state === 'over') return undefined
    this.hurry(range.start ?? 0)
    return source.file.follow(range)
  }
}
