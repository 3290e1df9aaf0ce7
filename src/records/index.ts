import { rm } from 'node:fs/promises'
import { Level } from 'level'
import { makeDirectories } from '../directories.ts'
import { StarlingError } from '../errors.ts'
import { type Contents, readContents, UnsoundIndex } from './contents.ts'
import { CurrentLevel } from './current-level.ts'
import { diskError } from './disk.ts'
import type { RegisterChange } from './draft.ts'
import { Fingerprint, type Prefix } from './fingerprint.ts'
import { isForgettable } from './horizon.ts'
import {
  idKey,
  idRange,
  REGISTER,
  registerKey,
  stampKey,
  TOMBSTONE,
  tombstoneKey
} from './index-keys.ts'
import {
  type IndexLevel,
  idsOf,
  openLevel,
  readRecords,
  registersOf,
  tombstonesOf
} from './index-level.ts'
import { decodeMeta, encodeMeta, type Meta, type Place } from './index-meta.ts'
import type { Heads } from './merge.ts'
import { idBytes, idOfBytes, recordId, type StampedRecord } from './record.ts'
import { decodeHeads, encodeHeads, type RegisterName, splitHeads } from './register.ts'
import { isSameMark, type Mark } from './segments.ts'
import { type Stamp, ZERO_STAMP } from './stamp.ts'

export interface IndexOptions {
  readonly directory: string
  /** How long to wait for another process that is just ending. */
  readonly lockTimeoutMs?: number
}

type Operation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer }

/** A pod that is replaced on its node may take some seconds to let go. */
const LOCK_TIMEOUT_MS = 5_000
const NO_HEADS: Heads = []
const META_KEY = Buffer.from('m')

/**
 * Finds records in the journal's state: the heads of each register in the order of names, and the
 * register of each id. It can be deleted at any time; the journal gives it again.
 *
 * Writes are not synced. A crash may take the last of them, and the mark that is written with them
 * tells from where to read the journal again.
 */
export class RecordIndex {
  readonly #options: IndexOptions
  readonly #level: CurrentLevel
  #contents: Contents
  #mark: Mark | undefined
  #floor: Stamp
  #note: Uint8Array | undefined
  /** Where a commit was to bring it that failed, and may have come all the same. */
  #attempted: Mark | undefined

  private constructor(
    options: IndexOptions,
    level: IndexLevel,
    contents: Contents,
    meta: Meta | undefined
  ) {
    this.#options = options
    this.#level = new CurrentLevel(level)
    this.#contents = contents
    this.#mark = meta?.mark
    this.#floor = meta?.floor ?? ZERO_STAMP
    this.#note = meta?.note
  }

  /**
   * Opens the index and checks all of it; `undefined` when what is there is not sound. Throws
   * `DATA_LOCKED` when another process has it.
   */
  static async open(options: IndexOptions): Promise<RecordIndex | undefined> {
    await makeDirectories(options.directory, 0o700)
    const level = new Level<Buffer, Buffer>(options.directory, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer'
    })
    if (!(await openLevel(level, options.lockTimeoutMs ?? LOCK_TIMEOUT_MS))) return undefined
    try {
      const meta = decodeMeta(await level.get(META_KEY))
      const contents = await readContents(registersOf(level), idsOf(level), tombstonesOf(level))
      const { hash } = contents.fingerprint.root()
      if (hash !== (meta?.hash ?? new Fingerprint(0).root().hash)) {
        throw new UnsoundIndex('records are missing')
      }
      return new RecordIndex(options, level, contents, meta)
    } catch {
      await level.close()
      return undefined
    }
  }

  /** An empty index in place of what is there. Throws `DISK_FAILED` when none can be made. */
  static async renew(options: IndexOptions): Promise<RecordIndex> {
    const { directory } = options
    await rm(directory, { recursive: true, force: true })
    const fresh = await RecordIndex.open(options)
    if (fresh !== undefined) return fresh
    throw new StarlingError('DISK_FAILED', `no record index can be made in ${directory}`)
  }

  get options(): IndexOptions {
    return this.#options
  }

  get contents(): Contents {
    return this.#contents
  }

  /** Up to where the journal is in here; `undefined` in a new index. */
  get mark(): Mark | undefined {
    return this.#mark
  }

  /** The hybrid clock as of the last commit. */
  get floor(): Stamp {
    return this.#floor
  }

  /** What the node keeps of itself, as of the last commit. */
  get note(): Uint8Array | undefined {
    return this.#note
  }

  async heads(name: RegisterName): Promise<Heads> {
    const stored = await this.#level.read(level => level.get(registerKey(name)))
    return stored === undefined ? NO_HEADS : decodeHeads(stored)
  }

  /** {@link heads} of many registers, in their order. */
  async headsOf(names: readonly RegisterName[]): Promise<Heads[]> {
    const stored = await this.#level.read(level => level.getMany(names.map(registerKey)))
    return stored.map(each => (each === undefined ? NO_HEADS : decodeHeads(each)))
  }

  /**
   * Makes changes visible, all at once. After a failure nothing of them is, but may be on disk:
   * before anything else is committed the index has to be replaced. Throws `DISK_FULL` and
   * `DISK_FAILED`.
   */
  async commit(changes: readonly RegisterChange[], place: Place): Promise<void> {
    const level = await this.#level.now
    this.#attempted = place.mark
    try {
      await level.batch(this.#operations(changes, place))
    } catch (error) {
      this.#count(
        changes.map(({ name, before, heads }) => ({ name, before: heads, heads: before }))
      )
      throw diskError(error, 'writing the record index')
    }
    this.#mark = place.mark
    this.#floor = place.floor
    this.#note = place.note
  }

  /** Whether what is on disk may stand at a mark, as far as this process knows what it wrote. */
  mayStandAt(mark: Mark | undefined): boolean {
    return isSameMark(mark, this.#mark) || isSameMark(mark, this.#attempted)
  }

  /** Whether all that this process has tried to commit is in an index that stands at a mark. */
  isWholeAt(mark: Mark | undefined): boolean {
    return isSameMark(mark, this.#attempted)
  }

  /**
   * Closes the index and goes on with the one that is then opened, which must say what this one
   * should. Reads wait for it; when it fails they are refused with its error until another call works.
   */
  async replace(open: () => Promise<RecordIndex>): Promise<void> {
    const other = this.close().then(open)
    this.#level.replace(other.then(index => index.#level.now))
    const { contents, mark, floor, note } = await other
    this.#contents = contents
    this.#mark = mark
    this.#floor = floor
    this.#note = note
  }
  /** The registers of up to `limit` tombstones that the horizon may drop, the oldest stamps first. */
  async tombstones(upTo: Stamp, limit: number): Promise<RegisterName[]> {
    const range = { gte: Buffer.from(TOMBSTONE), lt: stampKey((upTo + 1) as Stamp), limit }
    const names = await this.#level.read(level => level.values(range).all())
    return [...new Set(names.map(name => name.toString('utf8') as RegisterName))]
  }

  /** The ids in a range that follow `after`, ascending. */
  async idsIn(prefix: Prefix, after?: Uint8Array, limit = -1): Promise<Uint8Array[]> {
    const { gte, lt } = idRange(prefix)
    const afterKey = after === undefined ? undefined : idKey(after)
    const from = afterKey !== undefined && afterKey.compare(gte) >= 0 ? { gt: afterKey } : { gte }
    const keys = await this.#level.read(level => level.keys({ ...from, lt, limit }).all())
    return keys.map(key => key.subarray(1))
  }

  /** The bytes of the records with these ids; ids that are not known are left out. */
  async get(ids: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const names = await this.#level.read(level => level.getMany(ids.map(idKey)))
    const keys = names.flatMap(name =>
      name === undefined ? [] : Buffer.concat([Buffer.from(REGISTER), name])
    )
    const wanted = new Set(ids.map(idOfBytes))
    const found = new Map<string, Uint8Array>()
    for (const stored of await this.#level.read(level => level.getMany(keys))) {
      for (const bytes of stored === undefined ? [] : splitHeads(stored)) {
        const id = recordId(bytes)
        if (wanted.has(id)) found.set(id, bytes)
      }
    }
    return [...found.values()]
  }

  /**
   * Registers from a name on, in byte order, as they were when the iteration began, or when the index
   * was replaced in the middle of it.
   */
  async *scan(range: { gte: string; lt: string }): AsyncGenerator<Heads, void> {
    const bounds = { gte: Buffer.from(REGISTER + range.gte), lt: Buffer.from(REGISTER + range.lt) }
    for await (const stored of this.#level.values(bounds)) yield decodeHeads(stored)
  }

  /** The bytes of all records as of this call. Iterate it to its end, or return from it. */
  async records(): Promise<AsyncGenerator<Uint8Array, void>> {
    const level = await this.#level.now
    return readRecords(level, level.snapshot())
  }

  close(): Promise<void> {
    return this.#level.close()
  }

  #operations(changes: readonly RegisterChange[], place: Place): Operation[] {
    const operations: Operation[] = []
    for (const { name, before, heads } of changes) {
      const key = registerKey(name)
      operations.push(
        heads.length > 0 ? { type: 'put', key, value: encodeHeads(heads) } : { type: 'del', key }
      )
      for (const record of missingFrom(heads, before)) {
        operations.push({ type: 'del', key: idKey(idBytes(record.id)) })
        if (isForgettable(record)) operations.push({ type: 'del', key: tombstoneKey(record) })
      }
      const value = Buffer.from(name)
      for (const record of missingFrom(before, heads)) {
        operations.push({ type: 'put', key: idKey(idBytes(record.id)), value })
        if (isForgettable(record)) {
          operations.push({ type: 'put', key: tombstoneKey(record), value })
        }
      }
    }
    this.#count(changes)
    const { hash } = this.#contents.fingerprint.root()
    operations.push({ type: 'put', key: META_KEY, value: encodeMeta({ ...place, hash }) })
    return operations
  }

  #count(changes: readonly RegisterChange[]): void {
    const contents = this.#contents
    for (const { before, heads } of changes) {
      for (const { bytes, kind, version, id } of missingFrom(heads, before)) {
        contents.remove(bytes, kind, version, idBytes(id))
      }
      for (const { bytes, kind, version, id } of missingFrom(before, heads)) {
        contents.add(bytes, kind, version, idBytes(id))
      }
    }
  }
}

function missingFrom(heads: Heads, others: Heads): StampedRecord[] {
  return others.filter(other => !heads.some(head => head.id === other.id))
}
