import { type Clock, systemClock } from '../../clock.ts'
import { formatBytes } from '../render.ts'
import type { Screen } from './outcome.ts'

/** Often enough to look alive. */
const REDRAW_MS = 200

/** How far a command has come, in one line that is drawn over; nothing where nobody watches. */
export class Progress {
  readonly #screen: Screen | undefined
  readonly #what: string
  readonly #totalBytes: number | undefined
  readonly #clock: Clock
  #doneBytes = 0
  #drawnMs = Number.NEGATIVE_INFINITY

  /** @param screen `undefined` for none, as when scripts read the output */
  constructor(
    screen: Screen | undefined,
    what: string,
    totalBytes?: number,
    clock: Clock = systemClock
  ) {
    this.#screen = screen?.isTTY === true ? screen : undefined
    this.#what = what
    this.#totalBytes = totalBytes
    this.#clock = clock
  }

  /** The same bytes, counted as they are read. */
  async *of(bytes: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void> {
    for await (const chunk of bytes) {
      this.#doneBytes += chunk.length
      this.#draw()
      yield chunk
    }
  }

  /** Empties the line, for what is to be said. */
  clear(): void {
    if (this.#drawnMs > 0) this.#screen?.write('\r\x1b[K')
    this.#drawnMs = Number.NEGATIVE_INFINITY
  }

  #draw(): void {
    const nowMs = this.#clock.monotonic()
    if (this.#screen === undefined || nowMs - this.#drawnMs < REDRAW_MS) return
    this.#drawnMs = nowMs
    const of = this.#totalBytes === undefined ? '' : ` of ${formatBytes(this.#totalBytes)}`
    this.#screen.write(`\r\x1b[K${this.#what}: ${formatBytes(this.#doneBytes)}${of}`)
  }
}
