import assert from 'node:assert/strict'
import { mock, type TestContext, test } from 'node:test'
import type { Digest } from '../../src/digest.ts'
import { type ErrorCode, StarlingError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { Download } from '../../src/replication/download.ts'
import { Graph } from '../../src/replication/graph.ts'
import { Replicator } from '../../src/replication/replicator.ts'
import { HandClock, MANIFEST_TYPE, named } from './fixtures.ts'

/** A replicator over a missing list and downloads that the test drives. */
class Stage {
  readonly graph = new Graph()
  readonly clock = new HandClock()
  /** What is being fetched, in the order in which it was started. */
  readonly running = new Map<Digest, PromiseWithResolvers<void>>()
  readonly replicator: Replicator
  hasRoom = true
  readonly small = new Set<Digest>()
  /** What there is no room for. */
  readonly tooLarge = new Set<Digest>()
  replicatedSeconds: number[] = []
  readonly #missing = new Map<Digest, { readonly sinceMs: number }>()
  readonly #listeners = new Set<(digest: Digest) => void>()

  constructor(context: TestContext, ...missing: readonly Digest[]) {
    mock.timers.enable({ apis: ['setInterval'] })
    context.after(() => mock.timers.reset())
    for (const digest of missing) this.#missing.set(digest, { sinceMs: this.clock.ms })
    this.replicator = new Replicator({
      inventory: {
        graph: this.graph,
        missing: () => this.#missing,
        onMissing: listener => {
          this.#listeners.add(listener)
          return () => this.#listeners.delete(listener)
        }
      },
      downloads: { start: digest => this.#start(digest) },
      isSmall: digest => this.small.has(digest),
      hasRoom: () => this.hasRoom,
      fits: digest => !this.tooLarge.has(digest),
      onReplicated: seconds => this.replicatedSeconds.push(seconds),
      clock: this.clock,
      random: () => 0.5,
      log: silentLog
    })
    context.after(() => this.replicator.close())
  }

  miss(digest: Digest): void {
    this.#missing.set(digest, { sinceMs: this.clock.ms })
    for (const listener of this.#listeners) listener(digest)
  }

  async succeed(digest: Digest): Promise<void> {
    this.#missing.delete(digest)
    this.#take(digest).resolve()
    await turn()
  }

  async fail(digest: Digest, code: ErrorCode = 'BLOB_UNKNOWN'): Promise<void> {
    this.#take(digest).reject(new StarlingError(code, 'as the test wants it'))
    await turn()
  }

  /** Lets time pass, and the sweep look. */
  pass(ms: number): void {
    this.clock.ms += ms
    mock.timers.tick(250)
  }

  #start(digest: Digest): Download {
    const settled = Promise.withResolvers<void>()
    assert.equal(this.running.has(digest), false, 'fetched twice at once')
    this.running.set(digest, settled)
    return { done: settled.promise } as Download
  }

  #take(digest: Digest): PromiseWithResolvers<void> {
    const settled = this.running.get(digest)
    assert.ok(settled, 'is not being fetched')
    this.running.delete(digest)
    return settled
  }
}

const [a, b, c] = [named('a'), named('b'), named('c')] as const

test('nothing is fetched before the start', t => {
  const stage = new Stage(t, a)
  stage.miss(b)
  assert.equal(stage.running.size, 0)
  stage.replicator.start()
  assert.deepEqual([...stage.running.keys()], [a, b])
})

test('few are fetched at once, manifests first and then what was missing first', async t => {
  const blobs = Array.from({ length: 10 }, (_, number) => named(`blob ${number}`))
  const stage = new Stage(t, ...blobs)
  stage.replicator.start()
  assert.deepEqual([...stage.running.keys()], blobs.slice(0, 6))
  stage.graph.addLink('app', a, MANIFEST_TYPE)
  stage.miss(a)
  for (const blob of blobs.slice(0, 2)) await stage.succeed(blob)
  assert.deepEqual([...stage.running.keys()], [...blobs.slice(2, 6), a, ...blobs.slice(6, 8)])
})

test('small blobs are fetched many at a time, and large ones beside them', async t => {
  const small = Array.from({ length: 1_000 }, (_, number) => named(`small ${number}`))
  const large = Array.from({ length: 10 }, (_, number) => named(`large ${number}`))
  const stage = new Stage(t)
  for (const digest of small) stage.small.add(digest)
  stage.replicator.start()
  for (const digest of [...small, ...large]) stage.miss(digest)
  assert.deepEqual([...stage.running.keys()], [...small.slice(0, 512), ...large.slice(0, 6)])
  await stage.succeed(large[0] ?? assert.fail())
  await stage.succeed(small[0] ?? assert.fail())
  assert.deepEqual([...stage.running.keys()].slice(-2), [large[6], small[512]])
})

test('how long a blob was missing is told', async t => {
  const stage = new Stage(t, a)
  stage.replicator.start()
  stage.clock.ms += 2_500
  await stage.succeed(a)
  assert.deepEqual(stage.replicatedSeconds, [2.5])
})

test('what failed is tried again, each time later', async t => {
  const stage = new Stage(t, a)
  stage.replicator.start()
  for (const waitMs of [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
    await stage.fail(a)
    stage.pass(waitMs - 1)
    assert.equal(stage.running.size, 0)
    stage.pass(1)
    assert.deepEqual([...stage.running.keys()], [a])
  }
})

test('news of a holder ends the wait', async t => {
  const stage = new Stage(t, a, b)
  stage.replicator.start()
  await stage.fail(a)
  await stage.fail(b)
  stage.replicator.poke(a)
  stage.replicator.poke(c)
  assert.deepEqual([...stage.running.keys()], [a])
  stage.replicator.poke()
  assert.deepEqual([...stage.running.keys()], [a, b])
})

test('a blob that all asked have not has failed at once, one that they failed to give after some tries', async t => {
  const stage = new Stage(t, a, b)
  stage.replicator.start()
  assert.equal(stage.replicator.hasFailed(a), false)
  await stage.fail(a, 'BLOB_UNKNOWN')
  assert.equal(stage.replicator.hasFailed(a), true)
  for (let attempt = 1; attempt < 4; attempt++) {
    await stage.fail(b, 'PEER_FAILED')
    assert.equal(stage.replicator.hasFailed(b), false, `after ${attempt}`)
    stage.pass(60_000)
  }
  await stage.fail(b, 'PEER_FAILED')
  assert.equal(stage.replicator.hasFailed(b), true)
})

test('a node waits a minute for what a live member has and fails to give, and no longer', async t => {
  const stage = new Stage(t, a, b)
  stage.replicator.start()
  await stage.fail(a, 'BLOB_UNKNOWN')
  assert.equal(stage.replicator.hasGivenUp(a), true)
  for (let attempt = 1; attempt < 6; attempt++) {
    await stage.fail(b, 'PEER_FAILED')
    assert.equal(stage.replicator.hasGivenUp(b), false, `after ${attempt}`)
    stage.pass(11_000)
  }
  stage.pass(5_000)
  assert.equal(stage.replicator.hasGivenUp(b), true)
})

test('what is not missing any more is not tried again', async t => {
  const stage = new Stage(t, a)
  stage.replicator.start()
  const { promise } = Promise.withResolvers<void>()
  void promise
  await stage.fail(a)
  stage.replicator.poke(a)
  await stage.succeed(a)
  stage.pass(60_000)
  assert.equal(stage.running.size, 0)
  assert.equal(stage.replicator.hasFailed(a), false)
})

test('without room nothing is fetched, and all of it once there is some', t => {
  const stage = new Stage(t, a)
  stage.hasRoom = false
  stage.replicator.start()
  stage.miss(b)
  stage.pass(250)
  assert.equal(stage.running.size, 0)
  stage.hasRoom = true
  stage.pass(250)
  assert.deepEqual([...stage.running.keys()], [a, b])
})

test('what does not fit waits for room, and holds up nothing that is smaller', t => {
  const stage = new Stage(t, a, b)
  stage.tooLarge.add(a)
  stage.replicator.start()
  assert.deepEqual([...stage.running.keys()], [b])
  assert.ok(stage.replicator.lacksRoom && stage.replicator.hasFailed(a))
  stage.tooLarge.delete(a)
  stage.pass(2_000)
  assert.deepEqual([...stage.running.keys()], [b, a])
  assert.equal(stage.replicator.lacksRoom, false)
})

/** Lets everything that waits for a settled promise go on. */
function turn(): Promise<void> {
  return new Promise(resolve => setImmediate(resolve))
}
