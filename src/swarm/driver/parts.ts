import type { Clock } from '../../clock.ts'
import { Bits } from '../schedule/bits.ts'
import type { Event, Urgency } from '../schedule/messages.ts'
import { Claims } from './claims.ts'
import { tryKey } from './key.ts'
import type { Name } from './message.ts'
import { type Ending, type Part, pieceCountOf, pieceLengthOf, type Source } from './part.ts'
import type { PieceFile } from './ports.ts'

/** So many keys of uploads that are over are remembered, so that late news does not revive them. */
const MAX_OVER = 1_000

export interface NewPart {
  readonly key: string
  readonly pieceBytes: number
  readonly sizeBytes: number | undefined
  readonly name: Name | undefined
  readonly source: Source
}

export interface PartsOptions {
  readonly clock: Pick<Clock, 'monotonic'>
  readonly tell: (event: Event) => void
  /** Whoever waits at the desk for the blob has to be told. */
  readonly onOver: (part: Part) => void
}

/** The blobs that this node takes part in. */
export class Parts {
  readonly #options: PartsOptions
  readonly #parts = new Map<string, Part>()
  readonly #over = new Set<string>()
  #order = 0

  constructor(options: PartsOptions) {
    this.#options = options
  }

  get(key: string): Part | undefined {
    return this.#parts.get(key)
  }

  all(): Part[] {
    return [...this.#parts.values()]
  }

  /** How many there are of pushes elsewhere that have not ended. */
  provisional(): number {
    return this.all().filter(isProvisional).length
  }

  wasOver(key: string): boolean {
    return this.#over.has(key)
  }

  /** Begins to take a blob into a file, which may have pieces from before. */
  take(start: Omit<NewPart, 'source'>, file: PieceFile, urgency: Urgency): Part {
    const part = this.#add({ ...start, source: { kind: 'file', file } }, 'open')
    const held = new Bits(pieceCountOf(part))
    for (const [piece, hash] of file.held()) {
      if (!held.add(piece)) continue
      part.claims.hold(piece, hash)
      part.isResumed = true
      part.doneBytes += pieceLengthOf(part, piece)
    }
    const order = this.#order++
    this.#options.tell({ kind: 'fetch', ...startOf(part, held), urgency, order })
    return part
  }

  /** Begins to give a blob that is here, or that a client pushes here. */
  give(start: NewPart): Part {
    const part = this.#add(start, start.source.kind === 'blob' ? 'whole' : 'open')
    this.#options.tell({ kind: 'ingest', ...startOf(part, new Bits(pieceCountOf(part))) })
    return part
  }

  /** The part has got on, or was of use. */
  touch(part: Part): void {
    part.usedMs = this.#options.clock.monotonic()
  }

  /** Ends a part. What is in its file is removed, unless it is kept for another time. */
  end(part: Part, ending: Ending, files: 'remove' | 'keep' = 'remove'): void {
    if (part.state === 'over') return
    const { tell, onOver } = this.#options
    part.state = 'over'
    this.#parts.delete(part.key)
    if (part.origin !== undefined) this.#remember(part.key)
    tell({ kind: 'drop', blob: part.key })
    onOver(part)
    part.ended.resolve(ending)
    if (part.source.kind !== 'file') return
    const { file } = part.source
    // What cannot be removed now is removed at the next start.
    void (files === 'keep' ? file.close() : file.discard()).catch(() => undefined)
  }

  #add(start: NewPart, state: 'open' | 'whole'): Part {
    const { key, pieceBytes, sizeBytes, name, source } = start
    const now = this.#options.clock.monotonic()
    const parsed = tryKey(key)
    const part: Part = {
      ...{ key, pieceBytes, sizeBytes, name, source, state },
      origin: parsed?.kind === 'upload' ? parsed.origin : undefined,
      claims: new Claims(),
      suspects: [],
      refused: new Map(),
      startedMs: now,
      usedMs: now,
      doneBytes: state === 'whole' ? (sizeBytes ?? 0) : 0,
      taken: new Map(),
      told: { bytes: 0, atMs: 0 },
      from: new Set(),
      holders: new Set(),
      isResumed: false,
      ended: Promise.withResolvers()
    }
    this.#parts.set(key, part)
    return part
  }

  #remember(key: string): void {
    this.#over.add(key)
    const [oldest] = this.#over
    if (this.#over.size > MAX_OVER && oldest !== undefined) this.#over.delete(oldest)
  }
}

/** Whether it is of a push elsewhere of which nobody knows what it will be. */
export function isProvisional({ source, origin, name }: Part): boolean {
  return source.kind === 'file' && origin !== undefined && name === undefined
}

function startOf(part: Part, held: Bits) {
  const { key: blob, pieceBytes } = part
  const pieceCount = pieceCountOf(part)
  return {
    blob,
    sizeBytes: part.sizeBytes ?? pieceCount * pieceBytes,
    pieceBytes,
    pieceCount,
    held
  }
}
