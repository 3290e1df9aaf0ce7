import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { NO_TERMS } from '../../src/records/horizon.ts'
import { peerStore } from '../../src/records/peer-store.ts'
import { difference, reconcile } from '../../src/records/reconcile.ts'
import { idOfBytes } from '../../src/records/record.ts'
import { MAX_IDS } from '../../src/records/wire.ts'
import { encodeAnswer } from '../../src/records/wire-answer.ts'
import { decodeRequest } from '../../src/records/wire-request.ts'
import { openRecords, tagWrite } from './fixtures.ts'
import { histories, recordsOf } from './history.ts'
import { MemoryStore, numbered, plainRecord, wireTo } from './sets.ts'

const unaborted = new AbortController().signal

test('any two sets converge, whatever each has seen', async () => {
  const parts = histories.chain(history => {
    const written = recordsOf(history)
    return fc.tuple(fc.subarray(written), fc.subarray(written), fc.constant(written))
  })
  await fc.assert(
    fc.asyncProperty(parts, async ([left, right]) => {
      const [mine, theirs] = [new MemoryStore(left), new MemoryStore(right)]
      const wire = wireTo(theirs)
      const { end } = await reconcile(mine, wire.ask, unaborted)
      assert.equal(end, 'equal')
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
  assert.deepEqual(result, { received: 0, sent: 0, end: 'equal', terms: NO_TERMS })
  assert.equal(wire.exchanges, 1)
  assert.ok(wire.bytes < 100)
})

test('one difference in thousands costs some ranges and not the set', async () => {
  const records = numbered(0, 5_000)
  const wire = wireTo(new MemoryStore(records))
  const result = await reconcile(new MemoryStore(records.slice(1)), wire.ask, unaborted)
  assert.deepEqual(result, { received: 1, sent: 0, end: 'equal', terms: NO_TERMS })
  assert.ok(wire.bytes < 2_500, `${wire.bytes} bytes`)
  assert.ok(wire.exchanges <= 7, `${wire.exchanges} exchanges`)
})

test('the cost grows with the differences: twice as many cost at most about twice', async () => {
  const records = numbered(0, 4_000)
  const costs: number[] = []
  for (const differences of [20, 40, 80, 160]) {
    const wire = wireTo(new MemoryStore(records))
    const result = await reconcile(new MemoryStore(records.slice(differences)), wire.ask, unaborted)
    assert.deepEqual(result, { received: differences, sent: 0, end: 'equal', terms: NO_TERMS })
    costs.push(wire.bytes)
  }
  for (const [i, cost] of costs.entries()) assert.ok(cost < 2.3 * (costs[i - 1] ?? cost))
})

test('an exchange that is cut off anywhere goes on where it was', async () => {
  const records = numbered(0, 6_000)
  const [mine, theirs] = [new MemoryStore(records.slice(0, 3_000)), new MemoryStore(records)]
  let cuts = 0
  let moved = 0
  for (let exchanges = 3; ; exchanges += 2) {
    const wire = wireTo(theirs)
    const ask = async (request: Uint8Array) => {
      if (wire.exchanges >= exchanges) throw new Error('cut off')
      return await wire.ask(request)
    }
    const before = mine.root().count
    const result = await reconcile(mine, ask, unaborted).catch(() => undefined)
    moved += mine.root().count - before
    if (result?.end === 'equal') break
    cuts++
  }
  assert.ok(cuts > 0)
  assert.equal(moved, 3_000)
  assert.deepEqual(mine.root(), theirs.root())
})

test('each side gets what it lacks, in frames that are full but bounded', async () => {
  const mine = new MemoryStore(numbered(0, 1_000))
  const theirs = new MemoryStore(numbered(900, 2_000))
  const wire = wireTo(theirs)
  const result = await reconcile(mine, wire.ask, unaborted)
  assert.deepEqual(result, { received: 1_000, sent: 900, end: 'equal', terms: NO_TERMS })
  assert.deepEqual(mine.root(), theirs.root())
  assert.ok(wire.exchanges < 15)
})

test('ids come in pages when they do not fit one frame', async () => {
  const ids = Array.from({ length: MAX_IDS + 10 }, (_, n) => {
    const id = Buffer.alloc(32)
    id[0] = 1
    id.writeUInt32BE(n, 28)
    return id
  })
  const asked: Uint8Array[] = []
  const theirs = new MemoryStore([plainRecord(1)])
  theirs.divide = () => Array(16).fill({ count: 1, hash: Buffer.alloc(16) })
  theirs.idsIn = async (prefix, after, limit) => {
    if (!'0100'.startsWith(prefix)) return []
    const from = after === undefined ? 0 : Buffer.from(after).readUInt32BE(28) + 1
    return ids.slice(from, from + (limit ?? ids.length))
  }
  theirs.get = async wanted => {
    asked.push(...wanted)
    return []
  }
  await reconcile(new MemoryStore(), wireTo(theirs).ask, unaborted)
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
  assert.equal((await reconcile(mine, ask, unaborted)).end, 'equal')
  assert.deepEqual(mine.root(), theirs.root())
})

test('what gossip brings while it is looked for leaves nothing to move, and the sets are equal', async () => {
  const records = numbered(0, 50)
  const mine = new MemoryStore(records.slice(1))
  const wire = wireTo(new MemoryStore(records))
  const ask = async (request: Uint8Array) => {
    if (decodeRequest(request).kind === 'get')
      for (const record of records.slice(0, 1)) mine.add(record)
    return await wire.ask(request)
  }
  assert.deepEqual(await reconcile(mine, ask, unaborted), {
    received: 0,
    sent: 0,
    end: 'equal',
    terms: NO_TERMS
  })
})

test('two real stores converge', async t => {
  const a = await openRecords(t)
  const b = await openRecords(t, { origin: 'node-b' })
  await a.write(Array.from({ length: 300 }, (_, i) => tagWrite('app', `v${i}`)))
  await b.write(Array.from({ length: 300 }, (_, i) => tagWrite('app', `v${i + 150}`, 'b')))
  const result = await reconcile(
    peerStore(a, 'node-b'),
    wireTo(peerStore(b, 'node-a')).ask,
    unaborted
  )
  assert.deepEqual(result, { received: 300, sent: 300, end: 'equal', terms: NO_TERMS })
  assert.deepEqual(a.root(), b.root())
})

test('a peer that promises and does not give ends the exchange, and is not called equal', async () => {
  const theirs = new MemoryStore(numbered(0, 10))
  theirs.get = async () => []
  const wire = wireTo(theirs)
  const result = await reconcile(new MemoryStore(), wire.ask, unaborted)
  assert.deepEqual(result, { received: 0, sent: 0, end: 'stuck' })
  assert.ok(wire.exchanges < 10)
})

test('a peer that lists ids out of order, twice, or of other ranges is cut off', async () => {
  const id = (first: number, last: number) => {
    const bytes = Buffer.alloc(32, last)
    bytes[0] = first
    return bytes
  }
  const theirs = new MemoryStore([plainRecord(1)])
  const first = (await theirs.idsIn(''))[0]?.[0] ?? 0
  const lists = [
    [id(first, 2), id(first, 1)],
    [id(first, 1), id(first, 1)],
    [id((first + 16) % 256, 1)]
  ]
  for (const ids of lists) {
    const replies = [
      encodeAnswer({ kind: 'summaries', summaries: theirs.divide(''), terms: NO_TERMS }),
      encodeAnswer({ kind: 'ids', ids, more: true })
    ]
    const ask = async () => replies.shift() ?? Buffer.alloc(0)
    await assert.rejects(reconcile(new MemoryStore(), ask, unaborted), { code: 'PEER_FAILED' })
  }
  const fewer = async () => encodeAnswer({ kind: 'summaries', summaries: [], terms: NO_TERMS })
  await assert.rejects(reconcile(new MemoryStore(), fewer, unaborted), { code: 'PEER_FAILED' })
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

test('an aborted reconciliation asks nothing more', async () => {
  const aborted = AbortSignal.abort(new Error('given up'))
  const wire = wireTo(new MemoryStore())
  await assert.rejects(reconcile(new MemoryStore(), wire.ask, aborted), /given up/)
  assert.equal(wire.exchanges, 0)
})
