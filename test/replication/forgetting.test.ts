import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { type Bird, Flock, tagged } from './flock.ts'

const NODES = 4
const START_MS = 1_800_000_000_000

/** What may happen to a flock. Nodes are chosen by number among those there are. */
type Step =
  | { readonly kind: 'push' | 'delete' | 'restart' | 'replace'; readonly node: number }
  | { readonly kind: 'split'; readonly sides: readonly number[] }
  | { readonly kind: 'heal' }
  | { readonly kind: 'forget'; readonly node: number; readonly other: number }
  | { readonly kind: 'jump'; readonly node: number; readonly ms: number }
  | { readonly kind: 'level'; readonly node: number; readonly other: number }
  | { readonly kind: 'pass'; readonly rounds: number }

const node = fc.nat(NODES - 1)
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    { weight: 6, arbitrary: fc.record({ kind: fc.constant('push' as const), node }) },
    { weight: 5, arbitrary: fc.record({ kind: fc.constant('delete' as const), node }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), node }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('replace' as const), node }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('split' as const),
        sides: fc.array(fc.nat(1), { minLength: NODES, maxLength: NODES })
      })
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('heal' as const) }) },
    {
      weight: 4,
      arbitrary: fc.record({ kind: fc.constant('forget' as const), node, other: node })
    },
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant('jump' as const),
        node,
        ms: fc.constantFrom(0, START_MS - 86_400_000, START_MS + 3_600_000, Date.UTC(2040))
      })
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant('level' as const), node, other: node }) },
    {
      weight: 4,
      arbitrary: fc.record({
        kind: fc.constant('pass' as const),
        rounds: fc.integer({ min: 1, max: 4 })
      })
    }
  ),
  { maxLength: 40 }
)

interface Tag {
  readonly name: string
  readonly writer: string
  state: 'live' | 'deleted' | 'unknown'
}

/** A flock and what its nodes were asked to keep or delete. */
class Story {
  readonly flock: Flock
  readonly tags: Tag[] = []
  readonly lost = new Set<string>()
  #replaced = 0

  constructor(directory: string) {
    this.flock = new Flock(directory)
  }

  async tell(step: Step): Promise<void> {
    const { flock } = this
    const bird = 'node' in step ? flock.birds[step.node] : undefined
    const other = 'other' in step ? flock.birds[step.other] : undefined
    switch (step.kind) {
      case 'push':
        return await this.#push(bird)
      case 'delete':
        return await this.#delete(bird)
      case 'restart':
        if (bird !== undefined) await flock.restart(bird)
        return
      case 'replace':
        return await this.#replace(bird)
      case 'split': {
        const sides = new Map(flock.birds.map(({ id }, i) => [id, step.sides[i]]))
        flock.connected = (a, b) => sides.get(a.id) === sides.get(b.id)
        return
      }
      case 'heal':
        flock.connected = () => true
        return
      case 'forget':
        if (bird === undefined || other === undefined || flock.connected(bird, other)) return
        await bird.records.write([{ kind: 'forget', id: other.id }])
        return
      case 'jump':
        if (bird !== undefined) bird.clock.ms = step.ms
        return
      case 'level':
        if (bird !== undefined && other !== undefined) await flock.level(bird, other)
        return
      case 'pass':
        return await flock.settle(step.rounds)
    }
  }

  async check(): Promise<void> {
    this.flock.connected = () => true
    await this.flock.settle(8)
    const roots = new Set(this.flock.birds.map(({ records }) => records.root().hash))
    assert.equal(roots.size, 1, 'all have the same records')
    for (const { name, writer, state } of this.tags) {
      const [bird] = this.flock.birds
      const found = (await bird?.records.tag('app', name)) !== undefined
      if (state === 'live') assert.ok(found, `${name} of ${writer} is lost`)
      // What the writer alone could have told dead may return; see `records/horizon.ts`.
      if (state === 'deleted' && !this.lost.has(writer)) assert.ok(!found, `${name} has returned`)
    }
  }

  async #push(bird: Bird | undefined): Promise<void> {
    if (bird === undefined) return
    const name = `v${this.tags.length}`
    await bird.records.write([tagged(name)])
    this.tags.push({ name, writer: bird.id, state: 'live' })
  }

  async #delete(bird: Bird | undefined): Promise<void> {
    for (const tag of this.tags.toReversed()) {
      if (tag.state !== 'live' || bird === undefined) continue
      if ((await bird.records.tag('app', tag.name)) === undefined) continue
      await bird.records.write([{ kind: 'untag', repository: 'app', tag: tag.name }])
      tag.state = 'deleted'
      return
    }
  }

  /** The disk of a node is lost with what only it has; another takes its place. */
  async #replace(bird: Bird | undefined): Promise<void> {
    if (bird === undefined || this.#replaced === 2) return
    await this.flock.lose(bird)
    this.lost.add(bird.id)
    for (const tag of this.tags) {
      const there = await Promise.all(
        this.flock.birds.map(({ records }) => records.tag('app', tag.name))
      )
      if (tag.state === 'live' && there.every(found => found === undefined)) tag.state = 'unknown'
      if (tag.state === 'deleted' && there.some(found => found !== undefined)) tag.state = 'unknown'
    }
    await this.flock.add(`new-${++this.#replaced}`, this.flock.birds[0]?.clock.ms)
    const [first] = this.flock.birds
    await first?.records.write([{ kind: 'forget', id: bird.id }])
  }
}

test('nothing deleted returns and nothing live is lost, whatever splits, losses and clocks do', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async told => {
      const directory = await mkdtemp(join(tmpdir(), 'starling-forgetting-'))
      const story = new Story(directory)
      try {
        for (let i = 0; i < NODES; i++) await story.flock.add(`node-${i}`, START_MS)
        await story.flock.settle(2)
        for (const step of told) await story.tell(step)
        await story.check()
      } finally {
        await story.flock.close()
        await rm(directory, { recursive: true, force: true })
      }
    }),
    { numRuns: Number(process.env.FORGETTING_RUNS ?? 12), endOnFailure: false }
  )
})
