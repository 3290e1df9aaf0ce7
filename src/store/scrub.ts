import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import { type Digest, tryDigest } from '../digest.ts'
import { isCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Blobs } from './blobs.ts'
import { type Disk, nodeDisk } from './disk.ts'
import { Pace } from './pace.ts'

/** A small store is not read over and over: bits do not rot in a day. */
const ROUND_MS = 24 * 60 * 60 * 1_000
/** A node that starts has better things to do. */
const FIRST_AFTER_MS = 60_000
/** How much is read, or how many blobs are, before the place is written down. */
const NOTE_BYTES = 256 * 1024 * 1024
const NOTE_BLOBS = 1_000

export interface ScrubOptions {
  readonly dataDir: string
  readonly blobs: Blobs
  /** 0 for no scrubbing. */
  readonly bytesPerSecond: number
  readonly clock: Clock
  readonly log: Log
  /** Told of every piece that was read. */
  readonly onChecked: (bytes: number) => void
  readonly disk?: Disk
  /** How long a round lasts at least; a day by default. */
  readonly roundMs?: number
  /** When the first one begins; after a minute by default. */
  readonly firstAfterMs?: number
}

/**
 * Reads everything held again, little by little, to find what has rotted before somebody asks for
 * it. It goes round in the order of digests, so that whatever comes next is what was checked
 * longest ago; its place is kept over a restart. What is damaged is lost to the store, which tells.
 */
export class Scrub {
  readonly #options: ScrubOptions
  readonly #path: string
  readonly #disk: Disk
  readonly #closing = new AbortController()
  #loop: Promise<void> | undefined
  #closed: Promise<void> | undefined

  constructor(options: ScrubOptions) {
    this.#options = options
    this.#path = join(options.dataDir, 'scrub.place')
    this.#disk = options.disk ?? nodeDisk
  }

  start(): void {
    if (this.#options.bytesPerSecond > 0) this.#loop ??= this.#goRound()
  }

  close(): Promise<void> {
    this.#closing.abort()
    this.#closed ??= Promise.resolve(this.#loop)
    return this.#closed
  }

  async #goRound(): Promise<void> {
    const { clock, log, roundMs = ROUND_MS, firstAfterMs = FIRST_AFTER_MS } = this.#options
    const { signal } = this.#closing
    const rest = (ms: number) => delay(ms, undefined, { signal, ref: false })
    try {
      await rest(firstAfterMs)
      for (;;) {
        const beganMs = clock.monotonic()
        const round = await this.#round(await this.#place())
        await this.#note(undefined)
        log.info({ ...round, ms: Math.round(clock.monotonic() - beganMs) }, 'blobs scrubbed')
        await rest(Math.max(0, roundMs - (clock.monotonic() - beganMs)))
      }
    } catch (error) {
      if (!signal.aborted) log.error({ err: error }, 'scrubbing ended')
    }
  }

  /** All of them once, from after a place on. */
  async #round(after: Digest | undefined): Promise<{ blobs: number; damaged: number }> {
    const { blobs, bytesPerSecond, clock, log, onChecked } = this.#options
    const { signal } = this.#closing
    const pace = new Pace(bytesPerSecond, clock)
    const round = { blobs: 0, damaged: 0 }
    let unnoted = 0
    for (const digest of [...blobs.digests()].sort()) {
      if (after !== undefined && digest <= after) continue
      try {
        const found = await blobs.check(digest, async bytes => {
          await pace.take(bytes, signal)
          onChecked(bytes)
          unnoted += bytes / NOTE_BYTES
        })
        if (found !== 'gone') round.blobs += 1
        if (found === 'damaged') round.damaged += 1
      } catch (error) {
        if (!isCode(error, 'UNAVAILABLE')) throw error
        log.warn({ digest, err: error }, 'blob not checked')
      }
      unnoted += 1 / NOTE_BLOBS
      if (unnoted < 1) continue
      await this.#note(digest)
      unnoted = 0
    }
    return round
  }

  /** The last one checked before the process ended; none when a round was over. */
  async #place(): Promise<Digest | undefined> {
    return tryDigest((await readFile(this.#path, 'utf8').catch(() => '')).trim())
  }

  /** Not synced, and on a full disk not even written: then some are checked twice. */
  async #note(place: Digest | undefined): Promise<void> {
    try {
      await this.#disk.remove(this.#path)
      if (place === undefined) return
      const file = await this.#disk.openFile(this.#path)
      await file.write([Buffer.from(`${place}\n`)], 0).finally(() => file.close())
    } catch (error) {
      this.#options.log.debug({ err: error }, 'place of the scrub not noted')
    }
  }
}
