import assert from 'node:assert/strict'
import { answer, type ReconcileStore } from '../../src/records/answer.ts'
import { Fingerprint, type Prefix } from '../../src/records/fingerprint.ts'
import { NO_TERMS } from '../../src/records/horizon.ts'
import { type Heads, mergeInto } from '../../src/records/merge.ts'
import {
  encodeRecord,
  idBytes,
  idOfBytes,
  type StampedRecord,
  tryDecodeRecord
} from '../../src/records/record.ts'
import { type Stamp, ZERO_STAMP } from '../../src/records/stamp.ts'
import { MAX_FRAME_BYTES } from '../../src/records/wire.ts'

/** A set of records in memory, by the real merge rules. */
export class MemoryStore implements ReconcileStore {
  readonly registers = new Map<string, Heads>()
  readonly #byId = new Map<string, StampedRecord>()
  readonly #fingerprint = new Fingerprint()

  constructor(records: readonly StampedRecord[] = []) {
    for (const record of records) this.add(record)
  }

  add(record: StampedRecord): boolean {
    const merged = mergeInto(this.registers.get(record.key) ?? [], record)
    if (!merged.added) return false
    this.registers.set(record.key, merged.heads)
    this.#byId.set(record.id, record)
    this.#fingerprint.add(idBytes(record.id), record.bytes.length)
    for (const { id, bytes } of merged.replaced) {
      this.#byId.delete(id)
      this.#fingerprint.remove(idBytes(id), bytes.length)
    }
    return true
  }

  root() {
    return this.#fingerprint.root()
  }
  divide(prefix: Prefix) {
    return this.#fingerprint.divide(prefix)
  }
  async idsIn(prefix: Prefix, after?: Uint8Array, limit = Number.POSITIVE_INFINITY) {
    const from = after === undefined ? '' : Buffer.from(after).toString('hex')
    const ids = [...this.#byId.keys()].filter(id => id.startsWith(prefix) && id > from).sort()
    return ids.slice(0, limit).map(id => Buffer.from(id, 'hex'))
  }
  async get(ids: readonly Uint8Array[]) {
    return ids.flatMap(id => this.#byId.get(idOfBytes(id))?.bytes ?? [])
  }
  terms() {
    return NO_TERMS
  }
  vouched() {
    return ZERO_STAMP
  }
  witnesses() {
    return []
  }
  doubts() {
    return false
  }
  async judge(records: readonly Uint8Array[]) {
    return { give: records, keep: [] }
  }
  async apply(records: readonly Uint8Array[]) {
    const decoded = records.flatMap(bytes => tryDecodeRecord(bytes) ?? [])
    const applied = decoded.filter(record => this.add(record))
    return { applied, invalid: records.length - decoded.length }
  }
}

/** A wire to a peer that checks the bounds of every frame and counts bytes and exchanges. */
export function wireTo(peer: ReconcileStore) {
  const wire = { bytes: 0, exchanges: 0, ask }
  async function ask(request: Uint8Array): Promise<Uint8Array> {
    const reply = await answer(peer, request)
    assert.ok(request.length <= MAX_FRAME_BYTES && reply.length <= MAX_FRAME_BYTES)
    wire.bytes += request.length + reply.length
    wire.exchanges++
    return reply
  }
  return wire
}

export function plainRecord(n: number): StampedRecord {
  return encodeRecord({
    kind: 'tag',
    key: `key ${n}`,
    origin: 'node-x',
    stamp: (n + 1) as Stamp,
    seen: new Map(),
    body: new Map([['n', n]])
  })
}

export function numbered(from: number, to: number): StampedRecord[] {
  return Array.from({ length: to - from }, (_, i) => plainRecord(from + i))
}
