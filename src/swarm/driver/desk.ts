import type { PieceAnswer, PieceRequest } from '../piece-desk.ts'
import type { Event, PieceOf } from '../schedule/messages.ts'
import type { BlobStream } from '../send-blob.ts'
import { type Part, pieceLengthOf, readPiece } from './part.ts'
import type { PieceStore } from './ports.ts'

/** A request made twice is answered once; the other comes back after this. */
const TWICE_RETRY_MS = 250

/** One request of a neighbour. */
type Ticket =
  | { readonly kind: 'waiting'; readonly answer: (answer: PieceAnswer) => void }
  | { readonly kind: 'opening'; readonly answer: (answer: PieceAnswer) => void }
  | { readonly kind: 'sending'; readonly body: BlobStream }

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
  want(request: PieceRequest, signal: AbortSignal): Promise<PieceAnswer> {
    const { partOf, tell } = this.#options
    const { peer, key: blob, piece, urgency } = request
    const id = idOf({ peer, blob, piece })
    if (partOf(blob) === undefined) return Promise.resolve({ kind: 'unknown' })
    if (this.#tickets.has(id) || signal.aborted) {
      return Promise.resolve({ kind: 'busy', retryMs: TWICE_RETRY_MS })
    }
    return new Promise(resolve => {
      const hungUp = () => {
        if (!this.#tickets.has(id)) return
        tell({ kind: 'cancel', peer, blob, piece })
        this.#end(id)
      }
      signal.addEventListener('abort', hungUp, { once: true })
      this.#tickets.set(id, { kind: 'waiting', answer: resolve })
      tell({ kind: 'want', peer, blob, piece, urgency })
    })
  }

  /** A piece that was served has left, or its sending broke off. */
  sent({ peer, blob, piece }: PieceOf): void {
    if (!this.#tickets.delete(idOf({ peer, blob, piece }))) return
    this.#options.tell({ kind: 'sent', peer, blob, piece })
  }

  /** The scheduler gives a turn. */
  serve({ peer, blob, piece }: PieceOf): void {
    const id = idOf({ peer, blob, piece })
    const part = this.#options.partOf(blob)
    const ticket = this.#tickets.get(id)
    if (part !== undefined && ticket?.kind === 'waiting') {
      const opening: Ticket = { kind: 'opening', answer: ticket.answer }
      this.#tickets.set(id, opening)
      void this.#open(part, { peer, blob, piece }, opening)
    } else this.#options.tell({ kind: 'sent', peer, blob, piece })
  }

  busy(of: PieceOf, retryMs: number): void {
    this.#end(idOf(of), { kind: 'busy', retryMs })
  }

  /** The scheduler takes a turn back: of a neighbour that is gone, or for a blob that is. */
  stop(of: PieceOf): void {
    this.#end(idOf(of))
  }

  /** Turns away whoever waits for a blob, or for anything when it is undefined. */
  turnAway(blob?: string): void {
    for (const id of [...this.#tickets.keys()]) {
      if (blob === undefined || id.split(' ')[1] === blob) this.#end(id)
    }
  }

  async #open(
    part: Part,
    of: PieceOf,
    opening: Extract<Ticket, { kind: 'opening' }>
  ): Promise<void> {
    const { store, onUnreadable } = this.#options
    const id = idOf(of)
    const isOurs = () => this.#tickets.get(id) === opening
    try {
      const body = await readPiece(part, of.piece, store)
      if (isOurs()) {
        this.#tickets.set(id, { kind: 'sending', body })
        opening.answer({ kind: 'serve', sizeBytes: pieceLengthOf(part, of.piece), body })
      } else body.destroy()
    } catch (error) {
      onUnreadable(part, error)
      if (!isOurs()) return
      this.sent(of)
      opening.answer({ kind: 'unknown' })
    }
  }

  /** Forgets a request: who waits for it gets this answer, what is being sent breaks off. */
  #end(id: string, answer: PieceAnswer = { kind: 'unknown' }): void {
    const ticket = this.#tickets.get(id)
    if (ticket === undefined) return
    this.#tickets.delete(id)
    if (ticket.kind === 'sending') ticket.body.destroy()
    else ticket.answer(answer)
  }
}

function idOf({ peer, blob, piece }: PieceOf): string {
  return `${peer} ${blob} ${piece}`
}
