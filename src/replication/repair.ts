import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Records } from '../records/records.ts'
import type { Copies } from './copies.ts'
import type { Hold } from './hold.ts'
import type { Owed, PushedImage } from './owed.ts'

/** Soon after a member has returned, and cheap while there is nothing to repair. */
const LOOK_INTERVAL_MS = 500
/**
 * With nobody there to take a copy only every so many looks go through the list, for what has been
 * deleted meanwhile: 10,000 images cost a seventh of a processor otherwise, for as long as an outage.
 */
const LOOKS_ALONE = 60

export interface RepairOptions {
  readonly owed: Owed
  readonly mesh: Pick<Mesh, 'peers'>
  readonly records: Pick<Records, 'link'>
  readonly copies: Pick<Copies, 'count' | 'holdsThere'>
  readonly hold: Pick<Hold, 'ask'>
  readonly wantedCopies: () => number
  readonly lookIntervalMs?: number
  readonly log: Log
}

/**
 * Makes good what was acknowledged short, oldest first: asks those members for each image that lack
 * it, who then fetch it before all else.
 */
export class Repair {
  readonly #options: RepairOptions
  readonly #closing = new AbortController()
  #loop: Promise<void> | undefined

  constructor(options: RepairOptions) {
    this.#options = options
  }

  start(): void {
    this.#loop ??= this.#lookForEver()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#loop
  }

  async #lookForEver(): Promise<void> {
    const { signal } = this.#closing
    const { lookIntervalMs = LOOK_INTERVAL_MS } = this.#options
    for (let look = 1; ; look++) {
      await delay(lookIntervalMs, undefined, { signal, ref: false }).catch(() => undefined)
      if (!signal.aborted && look % LOOKS_ALONE !== 0 && this.#isAlone()) continue
      for (const image of this.#options.owed.images()) {
        if (signal.aborted) return
        await this.#look(image, signal).catch(error => {
          this.#options.log.debug({ ...image, err: error }, 'repair failed')
        })
      }
      if (signal.aborted) return
    }
  }

  async #look(image: PushedImage, signal: AbortSignal): Promise<void> {
    const { owed, records, copies, hold, wantedCopies, log } = this.#options
    const { repository, digest } = image
    if ((await records.link(repository, digest)) === undefined) return owed.redeem(image)
    const wanted = wantedCopies()
    let count = copies.count(digest)
    if (count < wanted) {
      const asked = this.#takers().filter(peer => copies.holdsThere(peer, digest) !== true)
      const answers = await Promise.all(asked.map(({ id }) => hold.ask(id, digest, signal)))
      count += answers.filter(answer => answer).length
    }
    if (count < wanted) return
    owed.redeem(image)
    log.info({ ...image, copies: count }, 'image has its copies')
  }

  #isAlone(): boolean {
    return !this.#options.mesh.peers().some(({ state, hold }) => state === 'live' && hold === 'all')
  }

  #takers() {
    return this.#options.mesh
      .peers()
      .filter(({ state, connected, hold }) => state === 'live' && connected && hold === 'all')
      .filter(({ beat }) => beat === undefined || beat.disk === 'ok')
  }
}
