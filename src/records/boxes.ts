import { isCode, StarlingError } from '../errors.ts'
import { type ReconcileStore, readFrame } from './answer.ts'
import type { Terms } from './horizon.ts'
import type { Stamp } from './stamp.ts'
import { JUDGED } from './standing.ts'
import type { Answer } from './wire-answer.ts'
import type { Request } from './wire-request.ts'

/** Asks a peer and gives its answer. */
export type Exchange = (request: Request) => Promise<Answer>

/** What a node in doubt knows of the peer that it gives records to. */
export interface Doubt {
  readonly terms: Terms
  readonly witnesses: ReadonlySet<string>
}

/** Ids asked for at once: records of usual size for these fill a frame. */
export const GET_IDS = 2_048

/** Fetches records in full batches, collecting ids over several pages. */
export class Inbox {
  readonly #mine: ReconcileStore
  readonly #exchange: Exchange
  #ids: Uint8Array[] = []
  /** Records of the frame before, which are merged while the next one is on its way. */
  #merging: Promise<number> = Promise.resolve(0)
  received = 0

  constructor(mine: ReconcileStore, exchange: Exchange) {
    this.#mine = mine
    this.#exchange = exchange
  }

  async fetch(ids: readonly Uint8Array[]): Promise<void> {
    for (const id of ids) this.#ids.push(id)
    while (this.#ids.length >= GET_IDS) await this.#fetchSome()
  }

  async finish(): Promise<void> {
    while (this.#ids.length > 0) await this.#fetchSome()
    this.received += await this.#merging
    this.#merging = Promise.resolve(0)
  }

  /** A peer may have replaced some of what it listed: what does not come is left to the next round. */
  async #fetchSome(): Promise<void> {
    const ids = this.#ids.slice(0, GET_IDS)
    const answer = await this.#exchange({ kind: 'get', ids })
    if (answer.kind !== 'records' || answer.served < 1) throw unexpected(answer)
    this.#ids = this.#ids.slice(answer.served)
    this.received += await this.#merging
    this.#merging = this.#mine
      .apply(answer.records, answer.vouched)
      .then(({ applied }) => applied.length)
    // It fails where it is awaited, which may be after the next frame has come.
    this.#merging.catch(() => {})
  }
}

/** Sends records in full frames, collecting ids over several pages. */
export class Outbox {
  readonly #mine: ReconcileStore
  readonly #exchange: Exchange
  readonly #doubt: Doubt | undefined
  #ids: Uint8Array[] = []
  #sent = 0
  #refused: unknown

  constructor(mine: ReconcileStore, exchange: Exchange, doubt: Doubt | undefined) {
    this.#mine = mine
    this.#exchange = exchange
    this.#doubt = doubt
  }

  moved(): { readonly sent: number; readonly refused?: unknown } {
    return this.#refused === undefined
      ? { sent: this.#sent }
      : { sent: this.#sent, refused: this.#refused }
  }

  async send(ids: readonly Uint8Array[]): Promise<void> {
    for (const id of ids) this.#ids.push(id)
    while (this.#ids.length >= GET_IDS) await this.#sendSome()
  }

  async finish(): Promise<void> {
    while (this.#ids.length > 0) await this.#sendSome()
  }

  async #sendSome(): Promise<void> {
    const { records, served } = await readFrame(this.#mine, this.#ids)
    this.#ids = this.#ids.slice(served)
    if (this.#doubt === undefined) return await this.#put(records, this.#mine.vouched())
    const { terms, witnesses } = this.#doubt
    const { give, keep } = await this.#mine.judge(records, terms, witnesses)
    await this.#put(give, this.#mine.vouched())
    await this.#put(keep, JUDGED)
  }

  async #put(records: readonly Uint8Array[], vouched: Stamp): Promise<void> {
    if (records.length === 0 || this.#refused !== undefined) return
    try {
      const answer = await this.#exchange({ kind: 'put', records, vouched })
      if (answer.kind !== 'applied') throw unexpected(answer)
      this.#sent += Math.min(answer.applied, records.length)
    } catch (error) {
      // A peer with a full disk takes nothing, but what it has must reach us all the same.
      if (!isCode(error, 'PEER_FAILED')) throw error
      this.#refused = error
    }
  }
}

export function unexpected(answer: Answer): StarlingError {
  return new StarlingError('PEER_FAILED', `an answer "${answer.kind}" that does not fit`)
}
