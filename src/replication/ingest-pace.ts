import type { Clock } from '../clock.ts'
import type { Upload } from '../store/upload-session.ts'

/**
 * How long the receivers may take for what a client has pushed and they lack. At its end it is waited
 * for by the client's next request, whose patience is some ten seconds (design, section 5).
 */
const MAX_LAG_MS = 4_000

/** A receiver that takes nothing for so long is stuck, and no reason to hold up a push. */
const STUCK_MS = 4_000

/** How often the receivers are looked at: a push has some ten thousand portions a second. */
const LOOK_MS = 50

/** Over how long the speed of a receiver is measured. */
const MEASURE_MS = 500

/** What is announced comes in pieces: whoever lacks less is not behind. */
const SLACK_BYTES = 4 * 1024 * 1024

export interface IngestPaceOptions {
  /** How many bytes of an upload each receiver has; `undefined` when it is not passed on. */
  readonly taken: (id: string) => ReadonlyMap<string, number> | undefined
  /** On how many nodes, this one included, a write has to be. */
  readonly wantedCopies: () => number
  readonly clock: Pick<Clock, 'monotonic'>
}

/** Holds back pushes, so that as many receivers as must have them keep up. */
export class IngestPace {
  readonly #options: IngestPaceOptions
  readonly #courses = new Map<string, Course>()
  #closed = false

  constructor(options: IngestPaceOptions) {
    this.#options = options
  }

  /** Settles when more of the upload may be read; `undefined` when that is now. */
  pace(upload: Upload): Promise<void> | undefined {
    return this.#mayGoOn(upload) ? undefined : this.#wait(upload)
  }

  /** The upload is over. */
  ended({ id }: Pick<Upload, 'id'>): void {
    this.#courses.delete(id)
  }

  /** Nobody is held back any more. */
  close(): void {
    this.#closed = true
  }

  async #wait(upload: Upload): Promise<void> {
    while (!this.#closed && !this.#mayGoOn(upload)) {
      await new Promise(resolve => setTimeout(resolve, LOOK_MS).unref())
    }
  }

  #mayGoOn({ id, offset }: Upload): boolean {
    const { taken, wantedCopies, clock } = this.#options
    const course = this.#courses.get(id) ?? new Course()
    const nowMs = clock.monotonic()
    if (nowMs - course.foundFreeMs < LOOK_MS) return true
    const receivers = taken(id)
    const needed = wantedCopies() - 1
    if (receivers === undefined || needed <= 0) return true
    this.#courses.set(id, course)
    const lags = course.lags(offset, receivers, nowMs).sort((a, b) => a - b)
    const slowest = lags[Math.min(needed, lags.length) - 1] ?? 0
    if (slowest <= MAX_LAG_MS) course.foundFreeMs = nowMs
    return slowest <= MAX_LAG_MS
  }
}

/** How fast the receivers of an upload take it. */
class Course {
  /** When nothing was found to hold it back. */
  foundFreeMs = Number.NEGATIVE_INFINITY
  readonly #receivers = new Map<string, Receiver>()

  /** How long each receiver that is not stuck will take for what it lacks, in milliseconds. */
  lags(offset: number, receivers: ReadonlyMap<string, number>, nowMs: number): number[] {
    const lags: number[] = []
    for (const [id, bytes] of receivers) {
      const receiver = this.#receivers.get(id) ?? new Receiver(nowMs)
      this.#receivers.set(id, receiver)
      const isBehind = offset - bytes > SLACK_BYTES
      receiver.look(bytes, isBehind, nowMs)
      if (nowMs - receiver.movedMs < STUCK_MS) {
        lags.push(isBehind ? (offset - bytes) / receiver.bytesPerMs : 0)
      }
    }
    return lags
  }
}

class Receiver {
  /** When it last took something, or lacked nothing. */
  movedMs: number
  /** Unmeasured at first: then it is not held to be slow. */
  bytesPerMs = Number.POSITIVE_INFINITY
  #bytes = 0
  #measured: { readonly bytes: number; readonly atMs: number }

  constructor(nowMs: number) {
    this.movedMs = nowMs
    this.#measured = { bytes: 0, atMs: nowMs }
  }

  /** How fast it is shows only while there is something for it to take. */
  look(bytes: number, isBehind: boolean, nowMs: number): void {
    if (bytes > this.#bytes || !isBehind) this.movedMs = nowMs
    this.#bytes = bytes
    const tookMs = nowMs - this.#measured.atMs
    if (tookMs < MEASURE_MS) return
    if (isBehind) {
      const bytesPerMs = Math.max(0, bytes - this.#measured.bytes) / tookMs
      const isFirst = this.bytesPerMs === Number.POSITIVE_INFINITY
      this.bytesPerMs = isFirst ? bytesPerMs : (this.bytesPerMs + bytesPerMs) / 2
    }
    this.#measured = { bytes, atMs: nowMs }
  }
}
