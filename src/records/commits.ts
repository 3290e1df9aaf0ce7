import { setTimeout as delay } from 'node:timers/promises'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { JournalDisk } from './disk.ts'
import { Draft } from './draft.ts'
import type { Batch } from './frame.ts'
import { repairIndex } from './index-repair.ts'
import type { Heads } from './merge.ts'
import type { StampedRecord } from './record.ts'
import { rewrite, type Storage } from './recovery.ts'
import type { Stamp } from './stamp.ts'

/** One record that a plan merged, with its register before and after. */
export interface Outcome {
  readonly record: StampedRecord
  readonly before: Heads
  readonly after: Heads
}

/** Works out what to merge. It must check before it merges: once a draft is changed it may not throw. */
export type Plan = (draft: Draft) => Promise<readonly Outcome[]>

export interface CommitsOptions<R> {
  readonly storage: Storage
  /** The hybrid clock, to be kept with each batch. */
  readonly floor: () => Stamp
  /** What the node keeps of itself, journalled with the next commit whenever it changed. */
  readonly note: {
    take(): Uint8Array | undefined
    /** What was taken is not durable. */
    lost(): void
  }
  /** Told of each plan's outcomes when they are durable and visible; gives the caller's answer. */
  readonly committed: (outcomes: readonly Outcome[]) => R
  /** The index took no more, and does again. */
  readonly repaired: () => void
  readonly disk: JournalDisk
  readonly log: Log
  /** Bytes that the journal may hold beyond twice what lives, before it is written anew. */
  readonly compactSlackBytes?: number
  /** How long after a repair that did not work the next one is tried. */
  readonly repairIntervalMs?: number
}

interface Job<R> {
  readonly plan: Plan
  readonly records: number
  resolve(answer: R): void
  reject(error: unknown): void
}

/** Records that wait to be committed; more are refused, for peers offer them again anyway. */
const MAX_PENDING_RECORDS = 16_384
/** Records that share one sync: with 4 KiB each, some megabytes in memory. */
const MAX_GROUP_RECORDS = 1_024
/** Small enough to replay in a moment, large enough that a quiet node never compacts. */
const COMPACT_SLACK_BYTES = 8 * 1024 * 1024
/** A disk that was full or gone is looked at again about as soon as a person would see it. */
const REPAIR_INTERVAL_MS = 5_000

type State =
  | { readonly kind: 'running' }
  | { readonly kind: 'failed'; readonly cause: unknown }
  | { readonly kind: 'closed' }

/**
 * The one queue through which every change goes. What waits while a sync runs is worked out and
 * synced together after it, each plan seeing what the plans before it merged.
 */
export class Commits<R> {
  readonly #options: CommitsOptions<R>
  readonly #jobs: Job<R>[] = []
  readonly #closing = new AbortController()
  #state: State = { kind: 'running' }
  #pending = 0
  #draining: Promise<void> | undefined
  #compacting: Promise<void> | undefined
  /** Ends a compaction that runs. */
  #compaction = new AbortController()
  #repairing: Promise<void> | undefined
  #compactAbove = 0

  constructor(options: CommitsOptions<R>) {
    this.#options = options
  }

  /**
   * Commits what a plan of about so many records merges. Throws `DISK_FULL` or `DISK_FAILED` when
   * it is not durable, `UNAVAILABLE` when too much waits already, and what the plan throws.
   */
  run(records: number, plan: Plan): Promise<R> {
    if (this.#state.kind !== 'running') return Promise.reject(stopped(this.#state))
    if (this.#pending + records > MAX_PENDING_RECORDS) {
      return Promise.reject(
        new StarlingError('UNAVAILABLE', 'too many records wait to be written', {
          retryAfterSeconds: 1
        })
      )
    }
    const { promise, resolve, reject } = Promise.withResolvers<R>()
    this.#jobs.push({ plan, records, resolve, reject })
    this.#pending += records
    this.#draining ??= this.#drain()
    return promise
  }

  /** Why nothing can be written for now; `undefined` while it can. */
  get failure(): StarlingError | undefined {
    return this.#state.kind === 'failed' ? stopped(this.#state) : undefined
  }

  /** Finishes what waits; a compaction or a repair that runs is given up. */
  async close(): Promise<void> {
    if (this.#state.kind === 'running') this.#state = { kind: 'closed' }
    this.#closing.abort()
    this.#compaction.abort()
    await this.#draining
    await this.#compacting
    await this.#repairing
  }

  async #drain(): Promise<void> {
    await Promise.resolve()
    for (let group = this.#take(); group.length > 0; group = this.#take()) {
      await this.#commit(group)
      await this.#compactIfWorthwhile()
    }
    this.#draining = undefined
  }

  #take(): Job<R>[] {
    let records = 0
    let jobs = 0
    for (const job of this.#jobs) {
      if (jobs > 0 && records + job.records > MAX_GROUP_RECORDS) break
      records += job.records
      jobs++
    }
    this.#pending -= records
    return this.#jobs.splice(0, jobs)
  }

  async #commit(group: readonly Job<R>[]): Promise<void> {
    const { journal, index } = this.#options.storage
    const draft = new Draft(index)
    const done: { job: Job<R>; outcomes: readonly Outcome[] }[] = []
    if (this.#state.kind === 'failed') {
      const error = stopped(this.#state)
      for (const job of group) job.reject(error)
      return
    }
    for (const job of group) {
      try {
        done.push({ job, outcomes: await job.plan(draft) })
      } catch (error) {
        job.reject(error)
      }
    }
    const floor = this.#options.floor()
    const note = this.#options.note.take()
    try {
      const batches: Batch[] = done
        .filter(({ outcomes }) => outcomes.length > 0)
        .map(({ outcomes }) => ({ floor, records: outcomes.map(({ record }) => record.bytes) }))
      if (note !== undefined) batches.unshift({ floor, records: [], note })
      const changes = draft.changes()
      // What is only dropped from the index has no record of its own in the journal.
      const mark = batches.length > 0 ? await journal.append(batches) : index.mark
      if (mark !== undefined && (batches.length > 0 || changes.length > 0)) {
        await index.commit(changes, { mark, floor, note: note ?? index.note }).catch(cause =>
          this.#fail(
            cause,
            done.flatMap(({ outcomes }) => outcomes)
          )
        )
      }
    } catch (error) {
      if (note !== undefined) this.#options.note.lost()
      for (const { job } of done) job.reject(error)
      return
    }
    for (const { job, outcomes } of done) {
      job.resolve(this.#options.committed(outcomes))
    }
  }

  /**
   * The index has not taken what is in the journal by now. Until both say the same again nothing
   * more is written; what the journal has of this is told then, though its writers were refused.
   */
  #fail(cause: unknown, untold: readonly Outcome[]): never {
    this.#options.log.error({ err: cause }, 'record index failed')
    const failed = { kind: 'failed', cause } as const
    if (this.#state.kind === 'running') {
      this.#state = failed
      this.#repairing = this.#repair(untold)
    }
    throw stopped(failed)
  }

  async #repair(untold: readonly Outcome[]): Promise<void> {
    const { storage, disk, log, repairIntervalMs = REPAIR_INTERVAL_MS } = this.#options
    const { signal } = this.#closing
    this.#compaction.abort()
    await this.#compacting
    for (let isRepaired = false; !isRepaired; ) {
      if (signal.aborted) return
      try {
        await repairIndex(storage, { disk, log })
        isRepaired = true
      } catch (error) {
        log.warn({ err: error, againAfterMs: repairIntervalMs }, 'record index not repaired')
        await delay(repairIntervalMs, undefined, { signal, ref: false }).catch(() => undefined)
      }
    }
    if (signal.aborted) return
    this.#state = { kind: 'running' }
    this.#compaction = new AbortController()
    this.#compactAbove = 0
    log.info({ records: untold.length }, 'record index repaired')
    this.#options.committed(untold)
    this.#options.repaired()
  }

  /** Begins a compaction between two commits, and lets it run beside the next ones. */
  async #compactIfWorthwhile(): Promise<void> {
    const { storage, log, compactSlackBytes = COMPACT_SLACK_BYTES } = this.#options
    const liveBytes = storage.index.contents.fingerprint.sizeBytes
    const { sizeBytes } = storage.journal
    if (this.#state.kind !== 'running' || this.#compacting !== undefined) return
    if (sizeBytes < Math.max(2 * liveBytes + compactSlackBytes, this.#compactAbove)) return
    this.#compactAbove = sizeBytes + compactSlackBytes
    const begun = Promise.withResolvers<void>()
    const { signal } = this.#compaction
    this.#compacting = rewrite(storage, { signal, begun: begun.resolve })
      .then(() => {
        this.#compactAbove = 0
        log.info({ before: sizeBytes, after: storage.journal.sizeBytes }, 'journal compacted')
      })
      .catch(error => {
        if (!signal.aborted) log.warn({ err: error }, 'journal not compacted')
      })
      .finally(() => {
        this.#compacting = undefined
        begun.resolve()
      })
    await begun.promise
  }
}

function stopped(state: State): StarlingError {
  if (state.kind !== 'failed') return new StarlingError('CLOSED', 'the records are closed')
  return new StarlingError('UNAVAILABLE', 'the index of records failed, and is being repaired', {
    ...{ cause: state.cause, retryAfterSeconds: REPAIR_INTERVAL_MS / 1_000 }
  })
}
