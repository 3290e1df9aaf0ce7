import { setTimeout as delay } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Inventory } from './inventory.ts'
import type { Replicator } from './replicator.ts'

/** As often as a person wants to see a number change. */
const PROGRESS_MS = 500
/** A blob whose holders are slow is on its way still when so much time brings nothing more. */
const HEAL_TIMEOUT_MS = 60_000
const LOOK_MS = 50

export interface VerificationOptions {
  readonly blobs: Blobs
  readonly inventory: Inventory
  readonly replicator: Replicator
  /** Told of every piece that was read. */
  readonly onChecked: (bytes: number) => void
  readonly clock: Clock
  readonly log: Log
}

/**
 * What became of a damaged blob: fetched again, not to be had from anybody now, still on its way,
 * or needed by nothing.
 */
export type Healing = 'healed' | 'lost' | 'pending' | 'unneeded'

interface Progress {
  readonly kind: 'progress'
  readonly blobs: number
  readonly bytes: number
  readonly totalBlobs: number
  readonly totalBytes: number
  readonly damaged: number
}

interface Outcome {
  readonly kind: 'outcome'
  readonly blobs: number
  readonly bytes: number
  readonly damaged: readonly { readonly digest: Digest; readonly healing: Healing }[]
  /** Could not be read for a reason that is not theirs. */
  readonly unchecked: readonly Digest[]
}

/** Reads everything held again at once, and waits until what is damaged has been fetched anew. */
export class Verification {
  readonly #options: VerificationOptions
  readonly #closing = new AbortController()

  constructor(options: VerificationOptions) {
    this.#options = options
  }

  /** Tells how far it is, and last the outcome. Ends early when it is not iterated to the end. */
  async *run(): AsyncGenerator<Progress | Outcome, void> {
    const { blobs, inventory, onChecked, log } = this.#options
    const { signal } = this.#closing
    const totals = blobs.totals()
    const unchecked: Digest[] = []
    const damaged: Digest[] = []
    const done = { blobs: 0, bytes: 0 }
    const progress = (): Progress => ({
      ...{ kind: 'progress', ...done, damaged: damaged.length },
      ...{ totalBlobs: totals.count, totalBytes: totals.bytes }
    })
    for (const digest of [...blobs.digests()].sort()) {
      const checking = blobs.check(digest, async bytes => {
        signal.throwIfAborted()
        done.bytes += bytes
        onChecked(bytes)
      })
      const found = settled(checking)
      while (!(await within(found, PROGRESS_MS))) yield progress()
      try {
        if ((await checking) === 'damaged') damaged.push(digest)
        done.blobs += 1
      } catch (error) {
        if (!isCode(error, 'UNAVAILABLE')) throw error
        unchecked.push(digest)
      }
    }
    yield progress()
    await inventory.settled()
    const endMs = this.#options.clock.monotonic() + HEAL_TIMEOUT_MS
    const isOver = () => this.#options.clock.monotonic() >= endMs
    while (damaged.some(digest => this.#healing(digest) === 'pending') && !isOver()) {
      await delay(LOOK_MS, undefined, { signal })
      yield progress()
    }
    const healed = damaged.map(digest => ({ digest, healing: this.#healing(digest) }))
    log.info({ ...done, damaged: healed, unchecked: unchecked.length }, 'blobs verified')
    yield { kind: 'outcome', ...done, damaged: healed, unchecked }
  }

  close(): void {
    this.#closing.abort()
  }

  #healing(digest: Digest): Healing {
    const { blobs, inventory, replicator } = this.#options
    if (blobs.stat(digest) !== undefined) return 'healed'
    if (!inventory.graph.isWanted(digest)) return 'unneeded'
    return replicator.hasFailed(digest) ? 'lost' : 'pending'
  }
}

/** Never rejects. */
function settled(work: Promise<unknown>): Promise<true> {
  const end = (): true => true
  return work.then(end, end)
}

/** Whether it has come within the time. */
async function within(coming: Promise<true>, timeoutMs: number): Promise<boolean> {
  const rest = new AbortController()
  const late = delay(timeoutMs, false, { signal: rest.signal }).catch(() => false)
  const came = await Promise.race([coming, late])
  rest.abort()
  return came
}
