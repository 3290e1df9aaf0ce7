import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { StarlingError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { MeshEvents, RequestHandler } from '../../src/mesh/mesh-options.ts'
import { Records } from '../../src/records/records.ts'
import { Roots } from '../../src/replication/roots.ts'
import { Synchroniser } from '../../src/replication/synchroniser.ts'
import { decodeAnnouncement } from '../../src/replication/wire.ts'
import { named, peer, temporary } from './fixtures.ts'

/** Two nodes, `a` and `b`, over a wire that the test may cut. */
class Pair {
  /** What a request from one to the other goes through. */
  wire = (answer: () => Promise<Uint8Array>): Promise<Uint8Array> => answer()
  readonly #handlers = new Map<string, RequestHandler>()
  readonly #context: TestContext

  constructor(context: TestContext) {
    this.#context = context
  }

  async add(id: string, other: string) {
    const log = silentLog
    const dataDir = await temporary(this.#context)
    const records = await Records.open({ dataDir, origin: id, clock: systemClock, log })
    const connected: ((peer: string) => void)[] = []
    const beaten: ((...values: MeshEvents['beat']) => void)[] = []
    const gone: ((...values: MeshEvents['gone']) => void)[] = []
    let view = peer(other)
    const published: Uint8Array[] = []
    const synchroniser = new Synchroniser({
      ...{ records, clock: systemClock, random: () => 0, log },
      roots: new Roots(records),
      mesh: {
        boot: id,
        peers: () => [view],
        handle: (_protocol, _maxBytes, handler) => void this.#handlers.set(id, handler),
        request: (to, _protocol, payload, { signal }) =>
          this.wire(async () => {
            const handler = this.#handlers.get(to)
            if (handler === undefined) throw new StarlingError('PEER_FAILED', 'nobody there')
            return handler(id, payload, signal)
          }),
        publish: payload => void published.push(payload),
        on: <Name extends keyof MeshEvents>(
          event: Name,
          listener: (...values: MeshEvents[Name]) => void
        ) => {
          if (event === 'connected') connected.push(listener as (peer: string) => void)
          if (event === 'gone') gone.push(listener as (...values: MeshEvents['gone']) => void)
          if (event === 'beat') beaten.push(listener as (...values: MeshEvents['beat']) => void)
          return () => {}
        }
      }
    })
    this.#context.after(async () => {
      await synchroniser.close()
      await records.close()
    })
    const met: number[] = []
    synchroniser.onMet((_peer, received) => met.push(received))
    return {
      ...{ records, synchroniser, published, met },
      connect: () => {
        for (const listener of connected) listener(other)
      },
      /** Gives the other up. */
      giveUp: () => {
        view = peer(other, { state: 'gone', connected: false })
        for (const listener of gone) listener(other, 'forgotten')
      },
      /** Hears where the other stands. */
      hear: (of: Records) => {
        const place = { boot: other, root: of.root().hash, position: of.sequence() }
        const { beat } = peer(other, {}, place)
        for (const listener of beaten) if (beat !== undefined) listener(other, beat)
      }
    }
  }
}

const tag = { kind: 'tag', repository: 'app', tag: 'v1', digest: named('image') } as const

test('after a reconciliation both have the records of both', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  await a.records.write([tag])
  await b.records.write([{ ...tag, repository: 'other' }])
  assert.equal(a.synchroniser.levelSince('b'), undefined)
  assert.equal(await a.synchroniser.level('b'), true)
  assert.equal(a.records.root().hash, b.records.root().hash)
  assert.equal(typeof a.synchroniser.levelSince('b'), 'number')
})

test('meeting tells how many records came that say what should exist, members not counted', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  await b.records.write([
    {
      ...{ kind: 'member', id: 'b', name: 'b', protocol: [1, 1], hold: 'all' },
      ...{ mesh: ['127.0.0.1:1'], transfer: '127.0.0.1:2' }
    }
  ])
  await a.synchroniser.level('b')
  assert.deepEqual(a.met, [0])
  await b.records.write([tag])
  await a.synchroniser.level('b')
  assert.deepEqual(a.met, [0])
  await b.records.write([{ ...tag, tag: 'v2' }])
  a.connect()
  await a.synchroniser.level('b')
  assert.deepEqual(a.met, [0, 1])
})

test('a question asked while an exchange runs is answered by another one after it', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  const held = Promise.withResolvers<void>()
  pair.wire = async answer => {
    const answered = await answer()
    await held.promise
    return answered
  }
  const first = a.synchroniser.level('b')
  await b.records.write([tag])
  const second = a.synchroniser.level('b')
  assert.equal(a.synchroniser.level('b'), second)
  held.resolve()
  await first
  await second
  assert.deepEqual(await a.records.tag('app', 'v1'), tag)
})

test('who does not answer in time is silent, and is not waited for', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const never = Promise.withResolvers<Uint8Array>()
  pair.wire = () => never.promise
  assert.deepEqual(await a.synchroniser.levelWithAll(10), { answered: [], silent: ['b'] })
  never.reject(new StarlingError('PEER_FAILED', 'the test is over'))
})

test('a peer that takes nothing does not keep this node from having all that it has', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  await a.records.write([tag])
  await b.records.write([{ ...tag, repository: 'other' }])
  // As a node with a full disk answers: it cannot journal.
  b.records.apply = async () => {
    throw new StarlingError('PEER_FAILED', 'no room left')
  }
  assert.equal(await a.synchroniser.level('b'), true)
  assert.ok(await a.records.tag('other', 'v1'))
})

test('what is written here is published at once, and what came from others is not', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  const [applied] = await a.records.write([tag])
  assert.ok(applied)
  const announcements = a.published.map(decodeAnnouncement)
  assert.deepEqual(announcements, [{ kind: 'records', records: [applied.bytes] }])
  await b.synchroniser.level('a')
  assert.deepEqual(b.published, [])
})

test('after a break each side gives what is new, found in its log and not by a search', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  await a.records.write([tag])
  await a.synchroniser.level('b')
  a.hear(b.records)
  await b.records.write([{ ...tag, tag: 'v2' }])
  await a.records.write([{ ...tag, tag: 'v3' }])
  a.connect()
  const asked: string[] = []
  pair.wire = async answer => {
    asked.push('asked')
    return await answer()
  }
  assert.equal(await a.synchroniser.level('b'), true)
  assert.equal(a.records.root().hash, b.records.root().hash)
  // Compare, news, put, and compare again.
  assert.ok(asked.length <= 5, `${asked.length} requests`)
})

test('a peer that lists records and gives none is not level', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  await b.records.write([tag])
  b.records.get = async () => []
  assert.equal(await a.synchroniser.level('b'), false)
  assert.equal(a.synchroniser.levelSince('b'), undefined)
})

test('nothing is kept of a member that is gone', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  await pair.add('b', 'a')
  await a.synchroniser.level('b')
  assert.equal(typeof a.synchroniser.progressAt('b'), 'number')
  a.giveUp()
  assert.equal(a.synchroniser.levelSince('b'), undefined)
  assert.equal(a.synchroniser.progressAt('b'), undefined)
})

test('nor when an exchange with it ends after that', async t => {
  const pair = new Pair(t)
  const a = await pair.add('a', 'b')
  const b = await pair.add('b', 'a')
  await b.records.write([tag])
  const asked = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  pair.wire = async answer => {
    asked.resolve()
    await held.promise
    return await answer()
  }
  const levelled = a.synchroniser.level('b')
  await asked.promise
  a.giveUp()
  held.resolve()
  assert.equal(await levelled, true)
  assert.ok(await a.records.tag('app', 'v1'))
  assert.equal(a.synchroniser.levelSince('b'), undefined)
  assert.equal(a.synchroniser.progressAt('b'), undefined)
})
