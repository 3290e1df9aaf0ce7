import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from 'cborg'
import fc from 'fast-check'
import { Fingerprint } from '../../src/records/fingerprint.ts'
import { type Heads, mergeInto } from '../../src/records/merge.ts'
import { answer, difference, type ReconcileStore, reconcile } from '../../src/records/reconcile.ts'
import {
  encodeRecord,
  idBytes,
  idOfBytes,
  type StampedRecord,
  tryDecodeRecord
} from '../../src/records/record.ts'
import type { Stamp } from '../../src/records/stamp.ts'
import {
  decodeAnswer,
  decodeRequest,
  encodeAnswer,
  MAX_FRAME_BYTES,
  MAX_IDS
} from '../../src/records/wire.ts'
import { openRecords, tagWrite } from './fixtures.ts'
import { histories, recordsOf } from './history.ts'

const unaborted = new AbortController().signal

/** A set of records in memory, by the real merge rules. */
class MemoryStore implements ReconcileStore {
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
  bucketHashes() {
    return this.#fingerprint.bucketHashes()
  }
  async idsOf(bucket: number) {
    const ids = [...this.#byId.keys()].sort().map(id => Buffer.from(id, 'hex'))
    return ids.filter(id => id[0] === bucket)
  }
  async get(ids: readonly Uint8Array[]) {
    return ids.flatMap(id => this.#byId.get(idOfBytes(id))?.bytes ?? [])
  }
  async apply(records: readonly Uint8Array[]) {
    const decoded = records.flatMap(bytes => tryDecodeRecord(bytes) ?? [])
    const applied = decoded.filter(record => this.add(record))
    return { applied, invalid: records.length - decoded.length }
  }
}

/** A wire to a peer that checks the bounds of every frame and counts bytes and exchanges. */
function wireTo(peer: ReconcileStore) {
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

function plainRecord(n: number): StampedRecord {
  return encodeRecord({
    kind: 'tag',
    key: `key ${n}`,
    origin: 'node-x',
    stamp: (n + 1) as Stamp,
    seen: new Map(),
    body: new Map([['n', n]])
  })
}

function numbered(from: number, to: number): StampedRecord[] {
  return Array.from({ length: to - from }, (_, i) => plainRecord(from + i))
}

test('any two sets converge, whatever each has seen', async () => {
  const parts = histories.chain(history => {
    const written = recordsOf(history)
    return fc.tuple(fc.subarray(written), fc.subarray(written), fc.constant(written))
  })
  await fc.assert(
    fc.asyncProperty(parts, async ([left, right]) => {
      const [mine, theirs] = [new MemoryStore(left), new MemoryStore(right)]
      const wire = wireTo(theirs)
      const { equal } = await reconcile(mine, wire.ask, unaborted)
      assert.equal(equal, true)
      assert.deepEqual(mine.root(), theirs.root())
      assert.deepEqual(mine.root(), new MemoryStore([...left, ...right]).root())
    }),
    { numRuns: 50 }
  )
})

test('equal sets cost one exchange of less than 100 bytes, however large they are', async () => {
  const records = numbered(0, 500)
  const wire = wireTo(new MemoryStore(records))
  const result = await reconcile(new MemoryStore(records.toReversed()), wire.ask, unaborted)
  assert.deepEqual(result, { received: 0, sent: 0, equal: true })
  assert.equal(wire.exchanges, 1)
  assert.ok(wire.bytes < 100)
})

test('one difference costs its bucket and not the set', async () => {
  const records = numbered(0, 2_000)
  const wire = wireTo(new MemoryStore(records))
  const result = await reconcile(new MemoryStore(records.slice(1)), wire.ask, unaborted)
  assert.deepEqual(result, { received: 1, sent: 0, equal: true })
  assert.ok(wire.bytes < 6_000)
  assert.equal(wire.exchanges, 4)
})

test('each side gets what it lacks, in frames that are full but bounded', async () => {
  const mine = new MemoryStore(numbered(0, 1_000))
  const theirs = new MemoryStore(numbered(900, 2_000))
  const wire = wireTo(theirs)
  const result = await reconcile(mine, wire.ask, unaborted)
  assert.deepEqual(result, { received: 1_000, sent: 900, equal: true })
  assert.deepEqual(mine.root(), theirs.root())
  assert.ok(wire.exchanges < 15)
})

test('ids come in pages when they do not fit one frame', async () => {
  const ids = Array.from({ length: MAX_IDS + 10 }, (_, n) => {
    const id = Buffer.alloc(32)
    id[0] = n < 100 ? 1 : 200
    id.writeUInt32BE(n, 28)
    return id
  })
  const asked: Uint8Array[] = []
  const theirs = new MemoryStore()
  theirs.bucketHashes = () => Array(256).fill('00'.repeat(16))
  theirs.idsOf = async bucket => ids.filter(id => id[0] === bucket)
  theirs.get = async wanted => {
    asked.push(...wanted)
    return []
  }
  await reconcile(new MemoryStore([plainRecord(1)]), wireTo(theirs).ask, unaborted)
  assert.deepEqual(new Set(asked.map(idOfBytes)), new Set(ids.map(idOfBytes)))
})

test('writes that go on meanwhile are picked up by another round', async () => {
  const [mine, theirs] = [new MemoryStore(numbered(0, 50)), new MemoryStore(numbered(50, 100))]
  const wire = wireTo(theirs)
  let late = 100
  const ask = async (request: Uint8Array) => {
    if (late < 102 && decodeRequest(request).kind === 'put') theirs.add(plainRecord(late++))
    return await wire.ask(request)
  }
  assert.equal((await reconcile(mine, ask, unaborted)).equal, true)
  assert.deepEqual(mine.root(), theirs.root())
})

test('two real stores converge', async t => {
  const a = await openRecords(t)
  const b = await openRecords(t, { origin: 'node-b' })
  await a.write(Array.from({ length: 300 }, (_, i) => tagWrite('app', `v${i}`)))
  await b.write(Array.from({ length: 300 }, (_, i) => tagWrite('app', `v${i + 150}`, 'b')))
  const result = await reconcile(a, wireTo(b).ask, unaborted)
  assert.deepEqual(result, { received: 300, sent: 300, equal: true })
  assert.deepEqual(a.root(), b.root())
})

test('a peer that promises and does not give ends the exchange, and is not called equal', async () => {
  const theirs = new MemoryStore(numbered(0, 10))
  theirs.get = async () => []
  const wire = wireTo(theirs)
  const result = await reconcile(new MemoryStore(), wire.ask, unaborted)
  assert.deepEqual(result, { received: 0, sent: 0, equal: false })
  assert.ok(wire.exchanges < 10)
})

test('a peer that lists ids out of order, twice, or of other buckets is cut off', async () => {
  const id = (first: number, last: number) => {
    const bytes = Buffer.alloc(32, last)
    bytes[0] = first
    return bytes
  }
  const hashes = new MemoryStore([plainRecord(1)]).bucketHashes()
  const differing = hashes.findIndex((hash, i) => hash !== new MemoryStore().bucketHashes()[i])
  const lists = [
    [id(differing, 2), id(differing, 1)],
    [id(differing, 1), id(differing, 1)],
    [id((differing + 1) % 256, 1)]
  ]
  for (const ids of lists) {
    const replies = [
      encodeAnswer({ kind: 'buckets', hashes }),
      encodeAnswer({ kind: 'ids', ids, more: true })
    ]
    const ask = async () => replies.shift() ?? Buffer.alloc(0)
    await assert.rejects(reconcile(new MemoryStore(), ask, unaborted), { code: 'PEER_FAILED' })
  }
  const endless = async (request: Uint8Array) => {
    if (decodeRequest(request).kind === 'compare') return encodeAnswer({ kind: 'buckets', hashes })
    return encodeAnswer({ kind: 'ids', ids: [], more: true })
  }
  assert.equal((await reconcile(new MemoryStore(), endless, unaborted)).equal, false)
})

test('messages that make no sense are refused in our words', () => {
  const bad = [
    Buffer.alloc(0),
    Buffer.alloc(100_000, 0x81),
    Buffer.alloc(MAX_FRAME_BYTES + 1),
    Buffer.from('9bffffffffffffffff', 'hex'),
    encode('compare'),
    encode(['compare', -1, Buffer.alloc(16)]),
    encode(['compare', 1, Buffer.alloc(15)]),
    encode(['list', 3, null]),
    encode(['list', Buffer.from([2, 1]), null]),
    encode(['list', Buffer.from([1]), Buffer.alloc(31)]),
    encode(['get', Buffer.alloc(33)]),
    encode(['put', [Buffer.alloc(5_000)]]),
    encode(['put', 'records']),
    encode(['ids', Buffer.alloc(32 * (MAX_IDS + 1)), false]),
    encode(['buckets', Buffer.alloc(16 * 257)]),
    encode(['drop', 'everything'])
  ]
  for (const bytes of bad) {
    assert.throws(() => decodeRequest(bytes), { code: 'PEER_FAILED' })
    assert.throws(() => decodeAnswer(bytes), { code: 'PEER_FAILED' })
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), bytes => {
      try {
        decodeRequest(bytes)
      } catch (error) {
        assert.equal((error as { code: string }).code, 'PEER_FAILED')
      }
    })
  )
})

test('an aborted reconciliation asks nothing more', async () => {
  const aborted = AbortSignal.abort(new Error('given up'))
  const wire = wireTo(new MemoryStore())
  await assert.rejects(reconcile(new MemoryStore(), wire.ask, aborted), /given up/)
  assert.equal(wire.exchanges, 0)
})

test('the difference of two ascending lists is what either lacks', () => {
  const id = fc.uint8Array({ minLength: 2, maxLength: 2 })
  const list = fc
    .uniqueArray(id, { selector: bytes => String(bytes) })
    .map(ids => ids.sort(Buffer.compare))
  fc.assert(
    fc.property(list, list, (mine, theirs) => {
      const { lacking, extra } = difference(mine, theirs)
      const without = (a: Uint8Array[], b: Uint8Array[]) =>
        a.filter(one => !b.some(other => Buffer.compare(one, other) === 0))
      assert.deepEqual(lacking, without(theirs, mine))
      assert.deepEqual(extra, without(mine, theirs))
    })
  )
})
