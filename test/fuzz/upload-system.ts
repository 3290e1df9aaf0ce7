import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { Blobs } from '../../src/store/blobs.ts'
import { layoutOf } from '../../src/store/layout.ts'
import { Uploads } from '../../src/store/uploads.ts'

/** Small, so that a short sequence of steps reaches each of them. */
export const MAX_SESSIONS = 4
export const IDLE_TIMEOUT_MS = 1_000
export const MAX_REHASH_BYTES = 60

/** Time that only the steps of a test move. */
class StepClock implements Clock {
  ms = 0
  readonly now = (): number => this.ms
  readonly monotonic = (): number => this.ms
}

interface Parts {
  readonly blobs: Blobs
  readonly uploads: Uploads
}

/** Uploads over a real store in a directory of its own, which can be closed and opened again. */
export class UploadSystem {
  readonly clock: StepClock
  readonly #dataDir: string
  #parts: Parts

  private constructor(dataDir: string, clock: StepClock, parts: Parts) {
    this.#dataDir = dataDir
    this.clock = clock
    this.#parts = parts
  }

  static async open(): Promise<UploadSystem> {
    const dataDir = await mkdtemp(join(tmpdir(), 'starling-fuzz-'))
    const clock = new StepClock()
    return new UploadSystem(dataDir, clock, await openParts(dataDir, clock))
  }

  get blobs(): Blobs {
    return this.#parts.blobs
  }

  get uploads(): Uploads {
    return this.#parts.uploads
  }

  async restart(): Promise<void> {
    await this.#close()
    this.#parts = await openParts(this.#dataDir, this.clock)
  }

  partialNames(): Promise<string[]> {
    return readdir(layoutOf(this.#dataDir).partial)
  }

  async remove(): Promise<void> {
    await this.#close()
    await rm(this.#dataDir, { recursive: true, force: true })
  }

  async #close(): Promise<void> {
    await this.uploads.close()
    await this.blobs.close()
  }
}

async function openParts(dataDir: string, clock: Clock): Promise<Parts> {
  const blobs = await Blobs.open({ dataDir, log: silentLog })
  const uploads = await Uploads.open({
    ...{ dataDir, blobs, clock, log: silentLog },
    ...{ maxSessions: MAX_SESSIONS, idleTimeoutMs: IDLE_TIMEOUT_MS },
    maxRehashBytes: MAX_REHASH_BYTES
  })
  return { blobs, uploads }
}
