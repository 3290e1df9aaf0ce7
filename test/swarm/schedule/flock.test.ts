import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { DEFAULT_LIMITS, type Limits } from '../../../src/swarm/schedule/limits.ts'
import type { Effect } from '../../../src/swarm/schedule/messages.ts'
import { type Bird, Flock } from './flock.ts'

const BLOB = 'blob'

const flocks = fc.record({
  seed: fc.nat(),
  birds: fc.integer({ min: 2, max: 7 }),
  pieces: fc.integer({ min: 1, max: 70 }),
  corrupt: fc.boolean(),
  silent: fc.boolean(),
  killed: fc.boolean(),
  late: fc.boolean()
})

test('whoever can be reached from a source gets everything, whatever the others do', () => {
  fc.assert(
    fc.property(flocks, options => {
      const { flock, honest } = makeFlock(options)
      assert.ok(
        flock.until(() => honest().every(({ complete }) => complete.has(BLOB))),
        'some node never completed'
      )
    }),
    { numRuns: 60 }
  )
})

test('windows, caps and queues are kept, and a piece is asked of who has it, at all times', () => {
  const limits = {
    ...DEFAULT_LIMITS,
    blobPieces: 5,
    maxWindow: 3,
    uploadQueue: 4,
    uploadStreams: 3
  }
  fc.assert(
    fc.property(flocks, options => {
      const { flock, honest } = makeFlock(options, limits, (bird, effects) => {
        checkBounds(bird, limits)
        checkWants(bird, effects)
      })
      flock.until(() => honest().every(({ complete }) => complete.has(BLOB)), 5_000)
    }),
    { numRuns: 60 }
  )
})

test('no wrong piece is ever held, and complete means that all pieces came in right', () => {
  fc.assert(
    fc.property(flocks, options => {
      const { flock, honest } = makeFlock({ ...options, corrupt: true }, DEFAULT_LIMITS, bird => {
        const swarm = bird.schedule.swarms.get(BLOB)
        if (swarm?.role !== 'fetch') return
        for (const piece of swarm.held) assert.ok(bird.stored.get(BLOB)?.has(piece))
        assert.ok(!bird.complete.has(BLOB) || swarm.held.isFull)
      })
      flock.until(() => honest().every(({ complete }) => complete.has(BLOB)))
    }),
    { numRuns: 40 }
  )
})

test('equal seeds give equal runs', () => {
  const run = () => {
    const log: string[] = []
    const options = { seed: 7, birds: 5, pieces: 40, corrupt: true, silent: true }
    const { flock, honest } = makeFlock(
      { ...options, killed: true, late: true },
      DEFAULT_LIMITS,
      ({ id }, effects) => log.push(`${id} ${effects.map(({ kind }) => kind).join()}`)
    )
    flock.until(() => honest().every(({ complete }) => complete.has(BLOB)))
    return log
  }
  assert.deepEqual(run(), run())
})

test('the source sends each piece once while its neighbours pass them on', () => {
  const sent = new Map<number, number>()
  const { flock, honest } = makeFlock(
    { seed: 3, birds: 7, pieces: 200, corrupt: false, silent: false, killed: false, late: false },
    DEFAULT_LIMITS,
    ({ id }, effects) => {
      for (const effect of effects) {
        if (id !== 'bird-0' || effect.kind !== 'serve') continue
        sent.set(effect.piece, (sent.get(effect.piece) ?? 0) + 1)
      }
    }
  )
  assert.ok(flock.until(() => honest().every(({ complete }) => complete.has(BLOB))))
  const total = [...sent.values()].reduce((sum, count) => sum + count, 0)
  assert.ok(total <= 1.1 * 200, `${total} pieces left the source of 200`)
})

type Options = typeof flocks extends fc.Arbitrary<infer T> ? T : never

/** The first bird has the blob; of the others one each may be corrupt, silent, killed or late. */
function makeFlock(
  options: Options,
  limits: Limits = DEFAULT_LIMITS,
  watch?: (bird: Bird, effects: readonly Effect[]) => void
): { flock: Flock; honest: () => Bird[] } {
  const { seed, birds, pieces } = options
  const flock = new Flock(seeded(seed), watch)
  const ids = Array.from({ length: birds }, (_, index) => `bird-${index}`)
  for (const id of ids) flock.add(id, limits)
  flock.linkAll()
  const [source = '', ...others] = ids
  const roles = [...others]
  const corrupt = options.corrupt ? flock.birds.get(roles.pop() ?? '') : undefined
  const silent = options.silent ? flock.birds.get(roles.pop() ?? '') : undefined
  if (corrupt !== undefined) corrupt.manner = 'corrupt'
  if (silent !== undefined) silent.manner = 'silent'
  const killed = options.killed ? roles.pop() : undefined
  flock.ingest(source, BLOB, pieces)
  const late = options.late ? roles[0] : undefined
  for (const id of others) if (id !== late) flock.fetch(id, BLOB, pieces)
  for (let count = 0; count < 100; count++) flock.deliver()
  if (killed !== undefined) flock.kill(killed)
  if (late !== undefined) flock.fetch(late, BLOB, pieces)
  return { flock, honest: () => roles.flatMap(id => flock.birds.get(id) ?? []) }
}

function checkBounds({ schedule }: Bird, limits: Limits): void {
  assert.ok(schedule.uploads.queue.length <= limits.uploadQueue)
  assert.ok(schedule.uploads.sending.length <= limits.uploadStreams)
  const asked = new Map<string, number>()
  for (const swarm of schedule.swarms.values()) {
    assert.ok(swarm.asked.count - swarm.claims <= limits.blobPieces)
    assert.ok(swarm.asked.count <= 2 * limits.blobPieces)
    assert.equal(swarm.asked.count, swarm.requests.size)
    for (const [piece, requests] of swarm.requests) {
      assert.ok(!swarm.held.has(piece) && requests.length >= 1 && requests.length <= 2)
      for (const { peer } of requests) asked.set(peer.id, (asked.get(peer.id) ?? 0) + 1)
    }
    for (const { unsent, unseen } of swarm.links.values()) {
      assert.ok(unsent >= 0 && unsent <= limits.offerWindow)
      assert.ok(unseen >= unsent && unseen <= 4 * limits.offerWindow)
    }
  }
  for (const peer of schedule.peers.values()) {
    assert.equal(peer.asked, asked.get(peer.id) ?? 0)
    assert.ok(peer.asked <= limits.maxWindow)
  }
}

function checkWants({ schedule }: Bird, effects: readonly Effect[]): void {
  for (const effect of effects) {
    if (effect.kind !== 'want') continue
    const { peer, blob, piece } = effect
    const swarm = schedule.swarms.get(blob)
    const request = swarm?.requests.get(piece)?.find(each => each.peer.id === peer)
    assert.ok(request?.isClaim || swarm?.links.get(peer)?.have.has(piece))
  }
}

function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}
