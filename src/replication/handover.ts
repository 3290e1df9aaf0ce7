import { setTimeout as delay, setImmediate as nextTurn } from 'node:timers/promises'
import type { Digest } from '../digest.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Inventory } from './inventory.ts'
import type { Locator } from './locator.ts'
import type { Synchroniser } from './synchroniser.ts'

/** How often those who are still copying are asked again. */
const ASK_AGAIN_MS = 250
/** How long one question may take: a member that is stuck must not use up the time. */
const ASK_TIMEOUT_MS = 5_000
/** Digests asked about at once, and looked up before others get a turn of the event loop. */
const BATCH = 1_000

export interface HandoverOptions {
  readonly mesh: Pick<Mesh, 'peers'>
  readonly records: Pick<Records, 'root'>
  readonly blobs: Pick<Blobs, 'digests'>
  readonly inventory: Pick<Inventory, 'graph' | 'settled'>
  readonly locator: Pick<Locator, 'locate'>
  readonly synchroniser: Pick<Synchroniser, 'levelWithAll'>
  /** Whether something was acknowledged that too few nodes hold: then it is worth waiting for one. */
  readonly owes: () => boolean
  readonly log: Log
}

/** What nobody else is known to have when a node stops. */
export interface Left {
  readonly blobs: number
  /** Whether some other member has every record of this node. */
  readonly recordsGiven: boolean
}

/**
 * Before a node stops: waits until others hold what only it holds, its records and the blobs that
 * live links and leases call for. They fetch by themselves; all it takes is to stay for so long.
 */
export class Handover {
  readonly #options: HandoverOptions

  constructor(options: HandoverOptions) {
    this.#options = options
  }

  /** Settles when nothing is left to give or nobody to give it to, and when the signal comes. */
  async run(signal: AbortSignal): Promise<Left> {
    const { records, inventory, owes, log } = this.#options
    await inventory.settled()
    let only = await this.#wanted()
    let givenRoot: string | undefined
    let told = 0
    for (;;) {
      const root = records.root().hash
      if (this.#takers().length > 0) {
        const { answered } = await this.#options.synchroniser.levelWithAll(ASK_TIMEOUT_MS)
        if (answered.length > 0) givenRoot = root
        only = await this.#notElsewhere(only, signal)
      }
      const recordsGiven = givenRoot === records.root().hash
      const isOver = recordsGiven && only.length === 0
      const mayCome = this.#takers().length > 0 || (this.#knowsMembers() && owes())
      if (isOver || !mayCome || signal.aborted) return { blobs: only.length, recordsGiven }
      if (told !== only.length) log.info({ blobs: only.length, recordsGiven }, 'handing over')
      told = only.length
      await delay(ASK_AGAIN_MS, undefined, { signal }).catch(() => undefined)
    }
  }

  /** What is held here and should exist. */
  async #wanted(): Promise<readonly Digest[]> {
    const { blobs, inventory } = this.#options
    const wanted: Digest[] = []
    let looked = 0
    for (const digest of [...blobs.digests()]) {
      if (++looked % BATCH === 0) await nextTurn()
      if (inventory.graph.isWanted(digest)) wanted.push(digest)
    }
    return wanted
  }

  async #notElsewhere(digests: readonly Digest[], signal: AbortSignal): Promise<readonly Digest[]> {
    const left: Digest[] = []
    for (let at = 0; at < digests.length; at += BATCH) {
      const batch = digests.slice(at, at + BATCH)
      if (signal.aborted) {
        left.push(...batch)
        continue
      }
      const { held } = await this.#options.locator.locate(batch, ASK_TIMEOUT_MS)
      left.push(...batch.filter(digest => !held.has(digest)))
    }
    return left
  }

  /** Who can be given something now. */
  #takers() {
    return this.#options.mesh
      .peers()
      .filter(({ state, connected, hold }) => state === 'live' && connected && hold === 'all')
  }

  #knowsMembers(): boolean {
    return this.#options.mesh.peers().some(({ state, hold }) => state !== 'gone' && hold === 'all')
  }
}
