import type { Event, PieceOf, Urgency } from '../schedule/messages.ts'
import { type Part, pieceLengthOf, readPiece } from './part.ts'
import type { PieceStore, Served } from './ports.ts'

/** A request made twice is answered once; the other comes back after this. */
const TWICE_RETRY_MS = 250

/** One request of a neighbour. */
type Ticket =
  | { readonly kind: 'waiting'; readonly answer: (served: Served) => void }
  | { readonly kind: 'sending'; readonly stop: AbortController }

export interface DeskOptions {
  readonly partOf: (key: string) => Part | undefined
  readonly tell: (event: Event) => void
  readonly store: PieceStore
  readonly onUnreadable: (part: Part, error: unknown) => void
}

/** Where neighbours ask for pieces: each waits for its turn, which the scheduler gives. */
export class Desk {
  readonly #options: DeskOptions
  readonly #tickets = new Map<string, Ticket>()

  constructor(options: DeskOptions) {
    this.#options = options
  }

  /** Settles when it is the neighbour's turn; the signal is aborted when it has hung up. */
  want(of: PieceOf & { readonly urgency: Urgency }, signal: AbortSignal): Promise<Served> {
    const { partOf, tell } = this.#options
    const { peer, blob, piece } = of
    const id = idOf(of)
    if (partOf(blob) === undefined) return Promise.resolve({ kind: 'unknown' })
    if (this.#tickets.has(id) || signal.aborted) {
      return Promise.resolve({ kind: 'busy', retryMs: TWICE_RETRY_MS })
    }
    return new Promise(resolve => {
      const hungUp = () => {
        if (!this.#tickets.has(id)) return
        tell({ kind: 'cancel', peer, blob, piece })
        this.#answer(id, { kind: 'unknown' })
      }
      signal.addEventListener('abort', hungUp, { once: true })
      this.#tickets.set(id, { kind: 'waiting', answer: resolve })
      tell({ kind: 'want', ...of })
    })
  }

  /** A piece that was served has left, or its sending broke off. */
  sent(of: PieceOf): void {
    const { peer, blob, piece } = of
    const id = idOf(of)
    if (this.#tickets.get(id)?.kind !== 'sending') return
    this.#tickets.delete(id)
    this.#options.tell({ kind: 'sent', peer, blob, piece })
  }

  /** The scheduler gives a turn. */
  serve(of: PieceOf): void {
    const { partOf, store, onUnreadable } = this.#options
    const part = partOf(of.blob)
    const id = idOf(of)
    const ticket = this.#tickets.get(id)
    if (part === undefined || ticket?.kind !== 'waiting') {
      const { peer, blob, piece } = of
      this.#options.tell({ kind: 'sent', peer, blob, piece })
      return
    }
    const stop = new AbortController()
    this.#tickets.set(id, { kind: 'sending', stop })
    ticket.answer({
      kind: 'serve',
      sizeBytes: pieceLengthOf(part, of.piece),
      read: async () => {
        try {
          return await readPiece(part, of.piece, store)
        } catch (error) {
          onUnreadable(part, error)
          throw error
        }
      },
      stop: stop.signal
    })
  }

  busy(of: PieceOf, retryMs: number): void {
    this.#answer(idOf(of), { kind: 'busy', retryMs })
  }

  /** The scheduler takes a turn back: of a neighbour that is gone, or for a blob that is. */
  stop(of: PieceOf): void {
    const id = idOf(of)
    const ticket = this.#tickets.get(id)
    if (ticket?.kind === 'sending') {
      this.#tickets.delete(id)
      ticket.stop.abort()
    }
  }

  /** Turns away whoever waits for a blob, or for anything when it is undefined. */
  turnAway(blob?: string): void {
    for (const [id, ticket] of [...this.#tickets]) {
      if (blob !== undefined && id.split(' ')[1] !== blob) continue
      if (ticket.kind === 'waiting') this.#answer(id, { kind: 'unknown' })
      else {
        this.#tickets.delete(id)
        ticket.stop.abort()
      }
    }
  }

  #answer(id: string, served: Served): void {
    const ticket = this.#tickets.get(id)
    if (ticket?.kind !== 'waiting') return
    this.#tickets.delete(id)
    ticket.answer(served)
  }
}

function idOf({ peer, blob, piece }: PieceOf): string {
  return `${peer} ${blob} ${piece}`
}
