import { setTimeout as delay } from 'node:timers/promises'
import type { Log } from '../log.ts'
import type { Beat } from '../mesh/beat.ts'
import type { Mesh } from '../mesh/mesh.ts'
import { confirmable } from '../records/horizon.ts'
import type { Records } from '../records/records.ts'
import type { Stamp } from '../records/stamp.ts'
import type { Roots } from './roots.ts'

/** Nobody waits for a tombstone to be dropped; each look that says something costs one sync. */
const LOOK_INTERVAL_MS = 10_000
/**
 * Looks after the last record that still promise: by then all others have promised as well and
 * heard each other. A cluster where nothing changes writes nothing.
 */
const LOOKS_AFTER_CHANGE = 6

type Said = Pick<Beat, 'root' | 'promised' | 'confirmed'>

/**
 * Follows what members promise and confirm in their heartbeats, says the same of this node, and
 * raises the horizon when all have confirmed; `records/horizon.ts` says why that is safe.
 */
export class Confirmations {
  readonly #mesh: Pick<Mesh, 'id' | 'peers' | 'on'>
  readonly #records: Records
  readonly #roots: Pick<Roots, 'sequenceOf'>
  readonly #log: Log
  readonly #closing = new AbortController()
  /** Confirmations of members whose members are known here too. */
  readonly #confirmed = new Map<string, Stamp>()
  /** What members said last, whatever their records. */
  readonly #said = new Map<string, Said>()
  #seen = -1
  #looksLeft = 0
  #loop: Promise<void> | undefined

  constructor(options: {
    mesh: Pick<Mesh, 'id' | 'peers' | 'on'>
    records: Records
    roots: Pick<Roots, 'sequenceOf'>
    log: Log
  }) {
    this.#mesh = options.mesh
    this.#records = options.records
    this.#roots = options.roots
    this.#log = options.log
    this.#mesh.on('beat', (peer, beat) => this.hear(peer, beat))
    this.#mesh.on('gone', peer => {
      this.#records.forgetting.standing.uncover(peer)
      for (const each of [this.#confirmed, this.#said]) each.delete(peer)
    })
  }

  start(): void {
    this.#loop ??= this.#lookForEver()
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#loop
  }

  /** A member said where it stands. */
  hear(peer: string, said: Said): void {
    this.#said.set(peer, said)
    if (this.#roots.sequenceOf(said.root) === undefined) return
    const { standing } = this.#records.forgetting
    standing.cover(peer, said.promised as Stamp)
    this.#confirmed.set(peer, said.confirmed as Stamp)
    if (said.root !== this.#records.root().hash) return
    standing.share(peer)
  }

  /** Says what can be said by now, if it may be of use to anyone. */
  async look(): Promise<void> {
    const { forgetting } = this.#records
    const { standing } = forgetting
    if (standing.isInDoubt) {
      if (this.#isLastResort()) await forgetting.standAlone()
      return
    }
    if (!(await this.#isOfUse())) return
    const others = this.#others()
    await forgetting.testify(promised => confirmable(promised, others, standing.covered))
    await this.#raise()
  }

  async #lookForEver(): Promise<void> {
    const { signal } = this.#closing
    while (!signal.aborted) {
      await delay(LOOK_INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return
      await this.look().catch(error => {
        this.#log.warn({ err: error }, 'nothing confirmed')
      })
    }
  }

  async #isOfUse(): Promise<boolean> {
    const sequence = this.#records.sequence()
    if (sequence !== this.#seen) {
      this.#seen = sequence
      this.#looksLeft = LOOKS_AFTER_CHANGE
    }
    if (this.#looksLeft > 0) {
      this.#looksLeft--
      return true
    }
    return await this.#records.forgetting.wouldDropByNow()
  }

  /** One member does it, so that not all write the same. */
  async #raise(): Promise<void> {
    const { forgetting } = this.#records
    const { standing } = forgetting
    const live = this.#mesh.peers().filter(({ state }) => state === 'live')
    if (live.some(({ id }) => standing.members.has(id) && id < this.#mesh.id)) return
    const { confirmed } = standing.testimony
    const at = confirmable(confirmed, this.#others(), this.#confirmed)
    if (at <= standing.horizon || !(await forgetting.wouldDrop(at))) return
    await this.#records.write([{ kind: 'horizon', at }])
    this.#log.info({ at }, 'deletions that all members know are forgotten')
  }

  /**
   * Whether this node is to speak for all: every member is here, and every one is in doubt, as when
   * the journals of all were damaged. One has to begin, and nothing is dropped by it.
   */
  #isLastResort(): boolean {
    const { standing } = this.#records.forgetting
    if (standing.isForgotten(this.#mesh.id)) return false
    const live = new Set(
      this.#mesh.peers().flatMap(({ id, state }) => (state === 'live' ? id : []))
    )
    return this.#others().every(id => {
      const said = this.#said.get(id)
      if (said === undefined || !live.has(id)) return false
      return said.confirmed < standing.horizon && this.#mesh.id < id
    })
  }

  #others(): string[] {
    const { members } = this.#records.forgetting.standing
    return [...members].filter(id => id !== this.#mesh.id)
  }
}
