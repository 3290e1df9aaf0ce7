import { mkdir, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { decode, encode, rfc8949EncodeOptions } from 'cborg'
import { Level } from 'level'
import { StarlingError, systemCode } from '../errors.ts'
import { Contents, readContents, UnsoundIndex } from './contents.ts'
import type { RegisterChange } from './draft.ts'
import { MAX_DEPTH, type Prefix } from './fingerprint.ts'
import type { Heads } from './merge.ts'
import { idBytes, idOfBytes, type StampedRecord } from './record.ts'
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
const FORMAT = 1
/** A pod that is replaced on its node may take some seconds to let go. */
const LOCK_TIMEOUT_MS = 5_000
const LOCK_RETRY_MS = 100
const NO_HEADS: Heads = []
/** Registers, ids and the state of the index, by the first byte of the key. */
const REGISTER = 'r'
const ID = 'i'
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

  private constructor(level: Level<Buffer, Buffer>, contents: Contents, meta: Meta | undefined) {
    this.#level = level
    this.#contents = contents
    this.#mark = meta?.mark
    this.#floor = meta?.floor ?? ZERO_STAMP
  }

  /**
   * Opens the index and checks all of it; `undefined` when what is there is not sound. Throws
   * `DATA_LOCKED` when another process has it.
   */
  static async open(options: IndexOptions): Promise<RecordIndex | undefined> {
    await mkdir(options.directory, { recursive: true, mode: 0o700 })
    const level = new Level<Buffer, Buffer>(options.directory, {
      keyEncoding: 'buffer',
      valueEncoding: 'buffer'
    })
    if (!(await openLevel(level, options.lockTimeoutMs ?? LOCK_TIMEOUT_MS))) return undefined
    try {
      const meta = decodeMeta(await level.get(META_KEY))
      const contents = await readContents(registersOf(level), idsOf(level))
      const { hash } = contents.fingerprint.root()
      if (hash !== (meta?.hash ?? new Contents().fingerprint.root().hash)) {
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

  async heads(name: RegisterName): Promise<Heads> {
    const stored = await this.#level.get(registerKey(name))
    return stored === undefined ? NO_HEADS : decodeHeads(stored)
  }

  /** Makes changes visible, all at once. A failure leaves what is in memory in doubt: reopen. */
  async commit(changes: readonly RegisterChange[], mark: Mark, floor: Stamp): Promise<void> {
    const operations: Operation[] = []
    for (const { name, before, heads } of changes) {
      operations.push({ type: 'put', key: registerKey(name), value: encodeHeads(heads) })
      for (const record of missingFrom(heads, before)) {
        this.#contents.remove(record.bytes, record.kind, record.version, idBytes(record.id))
        operations.push({ type: 'del', key: idKey(idBytes(record.id)) })
      }
      for (const record of missingFrom(before, heads)) {
        this.#contents.add(record.bytes, record.kind, record.version, idBytes(record.id))
        operations.push({ type: 'put', key: idKey(idBytes(record.id)), value: Buffer.from(name) })
      }
    }
    const { hash } = this.#contents.fingerprint.root()
    operations.push({ type: 'put', key: META_KEY, value: encodeMeta({ mark, floor, hash }) })
    await this.#level.batch(operations)
    this.#mark = mark
    this.#floor = floor
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
      name === undefined ? [] : Buffer.concat([REGISTER_BYTE, name])
    )
    const wanted = new Set(ids.map(idOfBytes))
    const found = new Map<string, Uint8Array>()
    for (const stored of await this.#level.getMany(keys)) {
      for (const record of stored === undefined ? NO_HEADS : decodeHeads(stored)) {
        if (wanted.has(record.id)) found.set(record.id, record.bytes)
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

interface Meta {
  readonly mark: Mark
  readonly floor: Stamp
  /** The hash of the root of all that is in the index. */
  readonly hash: string
}

const REGISTER_BYTE = Buffer.from(REGISTER)
const ID_BYTE = Buffer.from(ID)

function encodeMeta({ mark, floor, hash }: Meta): Buffer {
  const fields = [FORMAT, mark.segment, mark.offset, mark.checksum, floor, hash]
  return Buffer.from(encode(fields, rfc8949EncodeOptions))
}

function decodeMeta(stored: Buffer | undefined): Meta | undefined {
  if (stored === undefined) return undefined
  const [format, segment, offset, checksum, floor, hash] = decode(stored)
  if (format !== FORMAT) throw new UnsoundIndex('another format')
  return { mark: { segment, offset, checksum }, floor, hash }
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

function rangeOf(prefix: string): { gte: Buffer; lt: Buffer } {
  return { gte: Buffer.from(prefix), lt: Buffer.from([prefix.charCodeAt(0) + 1]) }
}

function registerKey(name: RegisterName): Buffer {
  return Buffer.from(REGISTER + name)
}

function idKey(id: Uint8Array): Buffer {
  return Buffer.concat([ID_BYTE, id])
}

/** The keys of the ids in a range: prefixes are of four digits at most, which are two bytes. */
function idRange(prefix: Prefix): { gte: Buffer; lt: Buffer } {
  const width = 16 ** (MAX_DEPTH - prefix.length)
  const from = (prefix === '' ? 0 : Number.parseInt(prefix, 16)) * width
  const below = from + width
  const gte = Buffer.from([ID.charCodeAt(0), from >>> 8, from & 0xff])
  if (below > 0xffff) return { gte, lt: Buffer.from([ID.charCodeAt(0) + 1]) }
  return { gte, lt: Buffer.from([ID.charCodeAt(0), below >>> 8, below & 0xff]) }
}

function missingFrom(heads: Heads, others: Heads): StampedRecord[] {
  return others.filter(other => !heads.some(head => head.id === other.id))
}
