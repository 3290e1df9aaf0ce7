/** Why nothing larger: a flow may have this many chunks on the way, like a TCP window. */
const WINDOW_CHUNKS = 4

/** A piece travels in so many chunks, or more or fewer to keep them within these sizes. */
const CHUNKS = 8
const MIN_CHUNK_BYTES = 64 * 1024
const MAX_CHUNK_BYTES = 1024 * 1024

/** One piece on its way from one node to another. */
export interface Flow {
  readonly from: number
  readonly to: number
  readonly blob: string
  readonly piece: number
  readonly sinceMs: number
  readonly chunkBytes: number
  readonly chunks: number
  left: number
  landed: number
  state: 'open' | 'stopped'
}

/** Where the network puts what happens later. */
export interface Agenda {
  /** A chunk of the flow has left the uplink of its sender. */
  departed(atMs: number, flow: Flow): void
  /** The sender knows that a chunk has been taken in. */
  landed(atMs: number, flow: Flow): void
}

/**
 * Every node has one server up and one down, of a fixed rate each, as in the model of the bound (a
 * node sends one piece and receives one at a time, at full rate). Pieces travel in chunks: an
 * uplink gives its flows a chunk each in turn, a downlink takes chunks in the order they come, and
 * a flow has only a few chunks on the way. So two flows through one link share it, a flow held up
 * at one end leaves the other end to others, as TCP does, nearly max-min fair; while a lone flow
 * gets the full rate of the slower end, less one chunk and the latency, which makes this model a
 * little slower than that of the bound, never faster.
 */
export class Network {
  readonly sentBytes: Float64Array
  readonly receivedBytes: Float64Array
  readonly #up: Float64Array
  readonly #down: Float64Array
  readonly #downFreeMs: Float64Array
  readonly #busy: Uint8Array
  readonly #ready: Flow[][]
  readonly #latencyMs: number
  readonly #agenda: Agenda

  /** Rates in bytes per millisecond, one for each node. */
  constructor(rates: Float64Array, latencyMs: number, agenda: Agenda) {
    this.#up = rates
    this.#down = rates
    this.#downFreeMs = new Float64Array(rates.length)
    this.#busy = new Uint8Array(rates.length)
    this.#ready = Array.from(rates, () => [])
    this.#latencyMs = latencyMs
    this.#agenda = agenda
    this.sentBytes = new Float64Array(rates.length)
    this.receivedBytes = new Float64Array(rates.length)
  }

  send(from: number, to: number, blob: string, piece: number, bytes: number, now: number): Flow {
    const fewest = Math.ceil(bytes / MAX_CHUNK_BYTES)
    const chunks = Math.max(1, fewest, Math.min(CHUNKS, Math.floor(bytes / MIN_CHUNK_BYTES)))
    const chunkBytes = bytes / chunks
    const flow: Flow = {
      from,
      to,
      blob,
      piece,
      sinceMs: now,
      chunkBytes,
      chunks,
      left: 0,
      landed: 0,
      state: 'open'
    }
    this.#ready[from]?.push(flow)
    this.#startNext(from, now)
    return flow
  }

  /** Whether that was the last chunk to leave. */
  departed(flow: Flow, now: number): boolean {
    const { from, to, chunkBytes } = flow
    this.#busy[from] = 0
    flow.left++
    this.sentBytes[from] = (this.sentBytes[from] ?? 0) + chunkBytes
    const start = Math.max(now + this.#latencyMs, this.#downFreeMs[to] ?? 0)
    const end = start + chunkBytes / (this.#down[to] ?? 1)
    this.#downFreeMs[to] = end
    this.#agenda.landed(end + this.#latencyMs, flow)
    if (canSend(flow)) this.#ready[from]?.push(flow)
    this.#startNext(from, now)
    return flow.left === flow.chunks
  }

  /** Whether that was the last chunk to land. */
  landed(flow: Flow, now: number): boolean {
    const { from, to, chunkBytes } = flow
    this.receivedBytes[to] = (this.receivedBytes[to] ?? 0) + chunkBytes
    const wasFull = flow.left - flow.landed === WINDOW_CHUNKS
    flow.landed++
    if (wasFull && canSend(flow)) {
      this.#ready[from]?.push(flow)
      this.#startNext(from, now)
    }
    return flow.landed === flow.chunks
  }

  #startNext(from: number, now: number): void {
    if (this.#busy[from] === 1) return
    const ready = this.#ready[from] ?? []
    let flow = ready.shift()
    while (flow?.state === 'stopped') flow = ready.shift()
    if (flow === undefined) return
    this.#busy[from] = 1
    this.#agenda.departed(now + flow.chunkBytes / (this.#up[from] ?? 1), flow)
  }
}

function canSend({ state, left, landed, chunks }: Flow): boolean {
  return state === 'open' && left < chunks && left - landed < WINDOW_CHUNKS
}
