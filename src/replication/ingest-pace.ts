import type { Clock } from '../clock.ts'
import type { Upload } from '../store/upload-session.ts'

/**
 * How far the receivers may be behind what a client has pushed. What they lack at its end is waited
 * for by the client's next request, whose patience is some ten seconds (design, section 5).
 */
const MAX_LAG_MS = 4_000

/** A receiver that takes nothing for so long is stuck, and no reason to hold up a push. */
const STUCK_MS = 4_000

/** How often the receivers are looked at: a push has some ten thousand portions a second. */
const LOOK_MS = 50

/** How far the push had come at a time is remembered this finely, and so many times at most. */
const SAMPLE_MS = 100
const MAX_SAMPLES = 1_000

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

/** When an upload had come how far, and when each receiver last got on. */
class Course {
  /** When nothing was found to hold it back. */
  foundFreeMs = Number.NEGATIVE_INFINITY
  readonly #samples: { readonly offset: number; readonly atMs: number }[] = []
  readonly #progress = new Map<string, { readonly bytes: number; readonly atMs: number }>()

  /** For how long each receiver that is not stuck has lacked what it lacks, in milliseconds. */
  lags(offset: number, receivers: ReadonlyMap<string, number>, nowMs: number): number[] {
    this.#note(offset, nowMs)
    const lags: number[] = []
    for (const [receiver, bytes] of receivers) {
      const lagMs = this.#lagMs(offset, bytes, nowMs)
      const last = this.#progress.get(receiver)
      if (last === undefined || last.bytes < bytes || lagMs <= MAX_LAG_MS) {
        this.#progress.set(receiver, { bytes, atMs: nowMs })
        lags.push(lagMs)
      } else if (nowMs - last.atMs < STUCK_MS) lags.push(lagMs)
    }
    return lags
  }

  #note(offset: number, nowMs: number): void {
    const last = this.#samples.at(-1)
    if (last !== undefined && (nowMs - last.atMs < SAMPLE_MS || offset <= last.offset)) return
    this.#samples.push({ offset, atMs: nowMs })
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift()
  }

  /** Since the push went beyond what the receiver has. */
  #lagMs(offset: number, bytes: number, nowMs: number): number {
    if (offset - bytes <= SLACK_BYTES) return 0
    const passed = this.#samples.find(sample => sample.offset > bytes)
    return passed === undefined ? 0 : nowMs - passed.atMs
  }
}
