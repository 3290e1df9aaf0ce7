import { rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { Level } from 'level'
import { makeDirectories } from '../directories.ts'
import { StarlingError, systemCode } from '../errors.ts'
import { type Contents, readContents, UnsoundIndex } from './contents.ts'
import type { RegisterChange } from './draft.ts'
import { Fingerprint, type Prefix } from './fingerprint.ts'
import { isForgettable } from './horizon.ts'
import {
  ID,
  ID_BYTES,
  idKey,
  idRange,
  REGISTER,
  rangeOf,
  registerKey,
  stampKey,
  TOMBSTONE,
  tombstoneKey
} from './index-keys.ts'
import type { Heads } from './merge.ts'
import { idBytes, idOfBytes, recordId, type StampedRecord } from './record.ts'
import { decodeHeads, encodeHeads, type RegisterName, splitHeads } from './register.ts'
import type { Mark } from './segments.ts'
import { type Stamp, ZERO_STAMP } from './stamp.ts'

export interface IndexOptions {
  readonly directory: string
  /** How long to wait for another process that is just ending. */
  readonly lockTimeoutMs?: number
}

type Snapshot = ReturnType<Level['snapshot']>
type Operation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer }

/** A change of format rebuilds the index from the journal; no migration is ever needed. */
const FORMAT = 2
/** A pod that is replaced on its node may take some seconds to let go. */
const LOCK_TIMEOUT_MS = 5_000
const LOCK_RETRY_MS = 100
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
  readonly #level: Level<Buffer, Buffer>
  #contents: Contents
  #mark: Mark | undefined
  #floor: Stamp
  #note: Uint8Array | undefined

  private constructor(level: Level<Buffer, Buffer>, contents: Contents, meta: Meta | undefined) {
    this.#level = level
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
      return new RecordIndex(level, contents, meta)
    } catch {
      await level.close()
      return undefined
    }
  }

  static async remove(directory: string): Promise<void> {
    await rm(directory, { recursive: true, force: true })
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
    const stored = await this.#level.get(registerKey(name))
    return stored === undefined ? NO_HEADS : decodeHeads(stored)
  }

  /** {@link heads} of many registers, in their order. */
  async headsOf(names: readonly RegisterName[]): Promise<Heads[]> {
    const stored = await this.#level.getMany(names.map(registerKey))
    return stored.map(each => (each === undefined ? NO_HEADS : decodeHeads(each)))
  }

  /** Makes changes visible, all at once. A failure leaves what is in memory in doubt: reopen. */
  async commit(changes: readonly RegisterChange[], place: Place): Promise<void> {
    const operations: Operation[] = []
    for (const { name, before, heads } of changes) {
      const key = registerKey(name)
      operations.push(
        heads.length > 0 ? { type: 'put', key, value: encodeHeads(heads) } : { type: 'del', key }
      )
      for (const record of missingFrom(heads, before)) {
        this.#contents.remove(record.bytes, record.kind, record.version, idBytes(record.id))
        operations.push({ type: 'del', key: idKey(idBytes(record.id)) })
        if (isForgettable(record)) operations.push({ type: 'del', key: tombstoneKey(record) })
      }
      for (const record of missingFrom(before, heads)) {
        this.#contents.add(record.bytes, record.kind, record.version, idBytes(record.id))
        const value = Buffer.from(name)
        operations.push({ type: 'put', key: idKey(idBytes(record.id)), value })
        if (isForgettable(record))
          operations.push({ type: 'put', key: tombstoneKey(record), value })
      }
    }
    const { hash } = this.#contents.fingerprint.root()
    operations.push({ type: 'put', key: META_KEY, value: encodeMeta({ ...place, hash }) })
    await this.#level.batch(operations)
    this.#mark = place.mark
    this.#floor = place.floor
    this.#note = place.note
  }

  /** The registers of up to `limit` tombstones that the horizon may drop, the oldest stamps first. */
  async tombstones(upTo: Stamp, limit: number): Promise<RegisterName[]> {
    const range = { gte: Buffer.from(TOMBSTONE), lt: stampKey((upTo + 1) as Stamp), limit }
    const names = await this.#level.values(range).all()
    return [...new Set(names.map(name => name.toString('utf8') as RegisterName))]
  }

  /** The ids in a range that follow `after`, ascending. */
  async idsIn(prefix: Prefix, after?: Uint8Array, limit = -1): Promise<Uint8Array[]> {
    const { gte, lt } = idRange(prefix)
    const afterKey = after === undefined ? undefined : idKey(after)
    const from = afterKey !== undefined && afterKey.compare(gte) >= 0 ? { gt: afterKey } : { gte }
    return (await this.#level.keys({ ...from, lt, limit }).all()).map(key => key.subarray(1))
  }

  /** The bytes of the records with these ids; ids that are not known are left out. */
  async get(ids: readonly Uint8Array[]): Promise<Uint8Array[]> {
    const names = await this.#level.getMany(ids.map(idKey))
    const keys = names.flatMap(name =>
      name === undefined ? [] : Buffer.concat([Buffer.from(REGISTER), name])
    )
    const wanted = new Set(ids.map(idOfBytes))
    const found = new Map<string, Uint8Array>()
    for (const stored of await this.#level.getMany(keys)) {
      for (const bytes of stored === undefined ? [] : splitHeads(stored)) {
        const id = recordId(bytes)
        if (wanted.has(id)) found.set(id, bytes)
      }
    }
    return [...found.values()]
  }

  /** Registers from a name on, in byte order, as they were when the iteration began. */
  async *scan(range: { gte: string; lt: string }): AsyncGenerator<Heads, void> {
    const bounds = { gte: Buffer.from(REGISTER + range.gte), lt: Buffer.from(REGISTER + range.lt) }
    for await (const stored of this.#level.values(bounds)) yield decodeHeads(stored)
  }

  /** The bytes of all records as of this call. Iterate it to its end, or return from it. */
  records(): AsyncGenerator<Uint8Array, void> {
    return readRecords(this.#level, this.#level.snapshot())
  }

  async close(): Promise<void> {
    await this.#level.close()
  }
}

/** Where a commit stands in the journal, and what was journalled beside records. */
interface Place {
  readonly mark: Mark
  readonly floor: Stamp
  readonly note: Uint8Array | undefined
}

interface Meta extends Place {
  /** The hash of the root of all that is in the index. */
  readonly hash: string
}

function encodeMeta({ mark, floor, hash, note }: Meta): Buffer {
  const fields = [FORMAT, mark.segment, mark.offset, mark.checksum, floor, hash, note ?? null]
  return Buffer.from(encode(fields, rfc8949EncodeOptions))
}

function decodeMeta(stored: Buffer | undefined): Meta | undefined {
  if (stored === undefined) return undefined
  const [format, segment, offset, checksum, floor, hash, note] = decode(stored)
  if (format !== FORMAT) throw new UnsoundIndex('another format')
  return { mark: { segment, offset, checksum }, floor, hash, note: note ?? undefined }
}

async function openLevel(level: Level<Buffer, Buffer>, lockTimeoutMs: number): Promise<boolean> {
  for (let waitedMs = 0; ; waitedMs += LOCK_RETRY_MS) {
    try {
      await level.open()
      return true
    } catch (error) {
      const cause = error instanceof Error ? error.cause : undefined
      if (systemCode(cause) !== 'LEVEL_LOCKED') return false
      if (waitedMs >= lockTimeoutMs) {
        throw new StarlingError('DATA_LOCKED', 'another process has the record index open', {
          cause: error
        })
      }
    }
    await delay(LOCK_RETRY_MS)
  }
}

async function* registersOf(
  level: Level<Buffer, Buffer>
): AsyncGenerator<[RegisterName, Buffer], void> {
  for await (const [key, value] of level.iterator(rangeOf(REGISTER))) {
    yield [key.toString('utf8', 1) as RegisterName, value]
  }
}

async function* idsOf(level: Level<Buffer, Buffer>): AsyncGenerator<[Buffer, RegisterName], void> {
  for await (const [key, value] of level.iterator(rangeOf(ID))) {
    yield [key.subarray(1), value.toString('utf8') as RegisterName]
  }
}

async function* tombstonesOf(level: Level<Buffer, Buffer>): AsyncGenerator<Buffer, void> {
  for await (const key of level.keys(rangeOf(TOMBSTONE))) yield key.subarray(-ID_BYTES)
}

async function* readRecords(
  level: Level<Buffer, Buffer>,
  snapshot: Snapshot
): AsyncGenerator<Uint8Array, void> {
  try {
    for await (const stored of level.values({ ...rangeOf(REGISTER), snapshot })) {
      yield* splitHeads(stored)
    }
  } finally {
    await snapshot.close()
  }
}

function missingFrom(heads: Heads, others: Heads): StampedRecord[] {
  return others.filter(other => !heads.some(head => head.id === other.id))
}
