import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { Commits, type Outcome } from './commits.ts'
import { CurrentValues } from './current-values.ts'
import { type JournalDisk, nodeDisk } from './disk.ts'
import { Drift } from './drift.ts'
import type { Prefix, Root, Summary } from './fingerprint.ts'
import { Forgetting } from './forgetting.ts'
import { hasRepository, listRepositories, listTags, type Page, valuesOf } from './listing.ts'
import { liveHeads } from './merge.ts'
import { type Giver, MAX_WRITES, planApply, planWrite } from './plans.ts'
import { tryDecodeRecord } from './record.ts'
import { closeStorage, openStorage, type Storage } from './recovery.ts'
import { HybridClock } from './stamp.ts'
import { openStanding, type Standing } from './standing.ts'
import {
  changeOf,
  currentValue,
  digestKey,
  type LeaseValue,
  type LinkValue,
  type MemberValue,
  readValue,
  type TagValue,
  tagKey,
  type Value,
  type Write
} from './values.ts'

/** A record that became part of this node's state. */
export interface Applied {
  readonly bytes: Uint8Array
  /** SHA-256 of the bytes, in hexadecimal. */
  readonly id: string
  readonly kind: string
  readonly key: string
  /** Whether this node wrote it. */
  readonly local: boolean
  /** The register after and before; `undefined`: deleted, never written, or not readable. */
  readonly value: Value | undefined
  readonly before: Value | undefined
  /** Whether nodes wrote this register without knowing of each other, and nobody did since. */
  readonly conflict: boolean
  /** Grows by one with each record, from 1 in each process. */
  readonly sequence: number
}

export interface RecordsOptions {
  readonly dataDir: string
  /** The id of this node. */
  readonly origin: string
  readonly clock: Clock
  readonly log: Log
  readonly disk?: JournalDisk
  readonly segmentBytes?: number
  readonly lockTimeoutMs?: number
  readonly compactSlackBytes?: number
  readonly repairIntervalMs?: number
}

export type AppliedListener = (applied: readonly Applied[]) => void

/** Records that one plan of `apply` merges, so that a write of ours never waits for very many. */
const APPLY_CHUNK_RECORDS = 1_024

/**
 * The replicated facts of this node: what should exist. Each write is a record that is journalled
 * and synced before anyone hears of it; records of peers merge in whatever order they come.
 * Reads see what is committed.
 */
export class Records {
  readonly #options: RecordsOptions
  readonly #storage: Storage
  readonly #clock: HybridClock
  readonly #commits: Commits<readonly Applied[]>
  readonly #standing: Standing
  /** Whose clock runs ahead of ours. */
  readonly drift: Drift
  /** How deletions come to be forgotten. */
  readonly forgetting: Forgetting
  readonly #listeners = new Set<AppliedListener>()
  readonly #values: CurrentValues
  #sequence = 0
  #closed: Promise<void> | undefined

  private constructor(options: RecordsOptions, storage: Storage, standing: Standing) {
    this.#options = options
    this.#storage = storage
    this.#standing = standing
    this.#values = new CurrentValues(storage.index)
    this.drift = new Drift(options)
    this.#clock = new HybridClock({
      clock: options.clock,
      floor: storage.index.floor,
      onDrift: (aheadMs, origin) => this.drift.see(aheadMs, origin)
    })
    this.#commits = new Commits({
      storage,
      floor: () => this.#clock.floor,
      note: { take: () => standing.takeNote(), lost: () => standing.noteLost() },
      committed: outcomes => this.#committed(outcomes),
      repaired: () => this.forgetting.settleAgain(),
      ...{ disk: nodeDisk, ...options }
    })
    this.#clock.follow(standing.horizon)
    this.forgetting = new Forgetting({
      ...{ standing, index: storage.index, commits: this.#commits },
      writer: { origin: options.origin, clock: this.#clock },
      log: options.log
    })
  }

  /**
   * Opens `DATA/records` and `DATA/index/records`, repairing either from the other. Throws
   * `DATA_LOCKED`, `DATA_DAMAGED` for data of a later version, `DISK_FULL` and `DISK_FAILED`.
   */
  static async open(options: RecordsOptions): Promise<Records> {
    const storage = await openStorage({ disk: nodeDisk, ...options })
    try {
      const standing = await openStanding(storage.index, options.origin)
      const records = new Records(options, storage, standing)
      await records.forgetting.settle()
      return records
    } catch (error) {
      await closeStorage(storage)
      throw error
    }
  }

  /**
   * Makes changes, all of them or none. When it returns they survive a power cut and listeners
   * have heard of them. Deleting what is not there writes nothing, and has no entry in the result.
   *
   * Throws `RECORD_INVALID` for fields out of bounds, `DISK_FULL`, `DISK_FAILED`, `UNAVAILABLE`.
   */
  async write(writes: readonly Write[]): Promise<readonly Applied[]> {
    if (writes.length > MAX_WRITES) {
      throw new StarlingError('RECORD_INVALID', `more than ${MAX_WRITES} changes in one write`)
    }
    const changes = writes.map(changeOf)
    return await this.#commits.run(changes.length, draft =>
      planWrite(draft, changes, { origin: this.#options.origin, clock: this.#clock })
    )
  }

  /**
   * Merges records of peers. Those known or replaced already change nothing; those that break the
   * envelope's rules are counted and dropped. Who gives records that others wrote is named, for old
   * ones are not taken from everybody. Throws as `write` does; records merged by then stay.
   */
  async apply(
    records: readonly Uint8Array[],
    giver?: Giver
  ): Promise<{ applied: readonly Applied[]; invalid: number }> {
    // Copied, so that a record that stays does not keep the whole frame it came in.
    const decoded = records.flatMap(bytes => tryDecodeRecord(Uint8Array.from(bytes)) ?? [])
    for (const record of decoded) {
      this.#clock.observe(record.stamp, record.origin)
      const value = record.kind === 'horizon' ? readValue(record) : undefined
      if (value?.kind === 'horizon') this.#clock.follow(value.at)
    }
    const applied: Applied[] = []
    for (let at = 0; at < decoded.length; at += APPLY_CHUNK_RECORDS) {
      const chunk = decoded.slice(at, at + APPLY_CHUNK_RECORDS)
      applied.push(
        ...(await this.#commits.run(chunk.length, draft =>
          planApply(draft, chunk, this.#standing, giver)
        ))
      )
    }
    return { applied, invalid: records.length - decoded.length }
  }

  /** Why nothing can be written for now, while the index is repaired; `undefined` when it can. */
  get failure(): StarlingError | undefined {
    return this.#commits.failure
  }

  /** Equal roots: the same records, whatever their kinds. */
  root(): Root {
    return this.#storage.index.contents.fingerprint.root()
  }

  /** The sequence of the last record applied by this process; 0 before the first. */
  sequence(): number {
    return this.#sequence
  }

  /** Live and dead heads of kinds or versions that this version cannot read; it must not collect then. */
  unreadable(): number {
    return this.#storage.index.contents.unreadable
  }

  /** The summaries of the ranges that a range of ids divides into. */
  divide(prefix: Prefix): readonly Summary[] {
    return this.#storage.index.contents.fingerprint.divide(prefix)
  }

  /** Ids in a range that follow `after`, ascending. */
  idsIn(prefix: Prefix, after?: Uint8Array, limit?: number): Promise<readonly Uint8Array[]> {
    return this.#storage.index.idsIn(prefix, after, limit)
  }

  /** The records with these ids, as bytes and in any order, without those that are not known. */
  get(ids: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    return this.#storage.index.get(ids)
  }

  tag(repository: string, tag: string): Promise<TagValue | undefined> {
    return this.#values.get('tag', tagKey(repository, tag))
  }

  link(repository: string, digest: Digest): Promise<LinkValue | undefined> {
    return this.#values.get('link', digestKey(repository, digest))
  }

  lease(repository: string, digest: Digest): Promise<LeaseValue | undefined> {
    return this.#values.get('lease', digestKey(repository, digest))
  }

  /** The tags of a repository, in byte order. */
  tags(repository: string, page: Page): Promise<string[]> {
    return listTags(this.#storage.index, repository, page)
  }

  /** The repositories that have a link or a tag, in byte order. */
  repositories(page: Page): Promise<string[]> {
    return listRepositories(this.#storage.index, page)
  }

  /** Whether a repository has a link or a tag. */
  hasRepository(repository: string): Promise<boolean> {
    return hasRepository(this.#storage.index, repository)
  }

  /** The tags of all repositories, by repository and then tag, in byte order. */
  tagsAll(after?: { readonly repository: string; readonly tag: string }): AsyncIterable<TagValue> {
    const key = after && tagKey(after.repository, after.tag)
    return valuesOf(this.#storage.index, 'tag', key)
  }

  links(): AsyncIterable<LinkValue> {
    return valuesOf(this.#storage.index, 'link')
  }

  leases(): AsyncIterable<LeaseValue> {
    return valuesOf(this.#storage.index, 'lease')
  }

  members(): Promise<MemberValue[]> {
    return Array.fromAsync(valuesOf(this.#storage.index, 'member'))
  }

  /** Calls back after each commit, before the writer is answered. Gives the way to stop it. */
  onApplied(listener: AppliedListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Finishes the writes that wait. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    await this.#commits.close()
    await closeStorage(this.#storage)
  }

  #committed(outcomes: readonly Outcome[]): readonly Applied[] {
    const applied = outcomes.map(({ record, before, after }) => ({
      bytes: record.bytes,
      id: record.id,
      kind: record.kind,
      key: record.key,
      local: record.origin === this.#options.origin,
      value: currentValue(after),
      before: currentValue(before),
      conflict: liveHeads(after).length > 1,
      sequence: ++this.#sequence
    }))
    if (applied.length === 0) return applied
    for (const { record, after } of outcomes) {
      this.#values.changed(record)
      this.#standing.see(after)
    }
    this.forgetting.settleSoon()
    for (const listener of this.#listeners) {
      try {
        listener(applied)
      } catch (error) {
        this.#options.log.error({ err: error }, 'listener of records failed')
      }
    }
    return applied
  }
}
