import type { Log } from '../log.ts'
import type { Commits, Plan } from './commits.ts'
import { isForgettable, isForgettableKind, judge, type Terms } from './horizon.ts'
import type { RecordIndex } from './index.ts'
import { planBury, planRenew, type Writer } from './plans.ts'
import { type StampedRecord, tryDecodeRecord } from './record.ts'
import type { Stamp } from './stamp.ts'
import type { Standing } from './standing.ts'

/** Registers dropped in one commit, so that a write of ours never waits for very many. */
const PURGE_REGISTERS = 256

/** What a node gives to one that lacks it, after it looked whether it is still true. */
export interface Judged {
  readonly give: readonly Uint8Array[]
  /** The node stands for these, though they are old. */
  readonly keep: readonly Uint8Array[]
}

export interface ForgettingOptions {
  readonly standing: Standing
  readonly commits: Pick<Commits<unknown>, 'run'>
  readonly index: RecordIndex
  readonly writer: Writer
  readonly log: Log
}

/** Carries out what `horizon.ts` decides: on the journal, the index and the clock of this node. */
export class Forgetting {
  readonly #options: ForgettingOptions
  readonly #clearedListeners = new Set<() => void>()
  #settling: Promise<void> = Promise.resolve()

  constructor(options: ForgettingOptions) {
    this.#options = options
  }

  get standing(): Standing {
    return this.#options.standing
  }

  /**
   * Promises that nothing written from now on is at or below a stamp, and journals it with what this
   * node confirms and shares; only then may others be told. Throws as `Records.write` does.
   */
  async testify(confirmable: (promised: Stamp) => Stamp): Promise<void> {
    const { standing, writer } = this.#options
    const { testimony } = standing
    const promised = writer.clock.promise()
    const confirmed = Math.max(testimony.confirmed, confirmable(promised)) as Stamp
    standing.testify({ ...testimony, promised, confirmed })
    await this.#commit(async () => [])
    await this.settle()
  }

  /** Whether the horizon would drop anything if it were raised so far. */
  async wouldDrop(upTo: Stamp): Promise<boolean> {
    return (await this.#options.index.tombstones(upTo, 1)).length > 0
  }

  /** Whether there are tombstones that this node's clock has passed. */
  wouldDropByNow(): Promise<boolean> {
    return this.wouldDrop(this.#options.writer.clock.promise())
  }

  /** Calls back when this node is no longer in doubt of what it has. */
  onCleared(listener: () => void): () => void {
    this.#clearedListeners.add(listener)
    return () => this.#clearedListeners.delete(listener)
  }

  /** Drops tombstones up to the horizon, as far as this node may. */
  settle(): Promise<void> {
    this.#settling = this.#settling.catch(() => {}).then(() => this.#settle())
    return this.#settling
  }

  /** {@link settle} after a commit, if the horizon rose by it. */
  settleSoon(): void {
    const { standing } = this.#options
    if (standing.horizon > standing.dropped) this.settleAgain()
  }

  /** {@link settle} after the index was opened again. */
  settleAgain(): void {
    const { log } = this.#options
    this.settle().catch(error => log.warn({ err: error }, 'tombstones not dropped'))
  }

  /**
   * Goes through records that the sender of these terms lacks. What is dead is replaced here;
   * tombstones that it never had are written anew, and reach it as any write does.
   */
  async judge(
    records: readonly Uint8Array[],
    terms: Terms,
    witnesses: ReadonlySet<string>
  ): Promise<Judged> {
    const { standing, writer } = this.#options
    const give: Uint8Array[] = []
    const keep: Uint8Array[] = []
    const dead: StampedRecord[] = []
    const renewed: StampedRecord[] = []
    const evidence = { ...standing.evidence(), witnesses }
    for (const bytes of records) {
      const record = tryDecodeRecord(bytes)
      if (record === undefined) continue
      const verdict = isForgettableKind(record.kind) ? judge(record, terms, evidence) : 'give'
      if (verdict === 'give') give.push(bytes)
      if (verdict === 'dead') dead.push(record)
      if (verdict === 'keep' && isForgettable(record)) renewed.push(record)
      else if (verdict === 'keep') keep.push(bytes)
    }
    if (dead.length > 0) await this.#commit(draft => planBury(draft, dead))
    if (renewed.length > 0) await this.#commit(draft => planRenew(draft, renewed, writer))
    return { give, keep }
  }

  /**
   * This node and the sender of these terms have the same records. If the sender knows all that
   * members have up to the horizon, then so does this node, and its doubt has an end.
   */
  async stoodLevel(terms: Terms): Promise<void> {
    const { standing } = this.#options
    const { horizon } = standing
    if (!standing.isInDoubt || terms.confirmed < horizon || terms.dropped < horizon) return
    standing.judged()
    await this.testify(promised => Math.min(promised, terms.confirmed) as Stamp)
    this.#cleared()
  }

  /** Nobody is left who could know of deletions that this node does not. */
  async standAlone(): Promise<void> {
    const { standing } = this.#options
    standing.judged()
    await this.testify(promised => promised)
    this.#cleared()
  }

  #cleared(): void {
    for (const listener of this.#clearedListeners) listener()
  }

  async #settle(): Promise<void> {
    const { standing, index } = this.#options
    let isRaised = standing.settle()
    const upTo = standing.dropped
    for (;;) {
      // An index that was built again from the journal has some that were dropped before.
      const names = await index.tombstones(upTo, PURGE_REGISTERS)
      if (names.length === 0 && !isRaised) return
      isRaised = false
      await this.#commit(async draft => {
        for (const name of names) {
          await draft.drop(name, head => isForgettable(head) && head.stamp <= upTo)
        }
        return []
      })
    }
  }

  async #commit(plan: Plan): Promise<void> {
    await this.#options.commits.run(1, plan)
  }
}
