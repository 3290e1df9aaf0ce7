import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { decodeRecord } from '../../src/records/record.ts'
import type { Stamp } from '../../src/records/stamp.ts'
import { type Bird, Flock, tagged } from './flock.ts'

const NODES = 4
const START_MS = 1_800_000_000_000

/** What may happen to a flock. Nodes and tags are chosen by number among those there are. */
type Step =
  | { readonly kind: 'push' | 'restart' | 'replace'; readonly node: number }
  | { readonly kind: 'delete'; readonly node: number; readonly tag: number }
  | { readonly kind: 'jump'; readonly node: number; readonly ms: number }
  | { readonly kind: 'level'; readonly node: number; readonly other: number }
  | { readonly kind: 'pass'; readonly rounds: number }

/** The nodes part, each side may forget the other, and they come together in some order. */
interface Chapter {
  readonly together: readonly Step[]
  readonly rounds: number
  readonly sides: readonly number[]
  /** For each side, the round of the time apart after which it forgets those it does not hear. */
  readonly forgetsAfter: readonly number[]
  readonly apart: readonly (readonly Step[])[]
  readonly meetings: readonly (readonly [number, number])[]
}

const node = fc.nat(NODES - 1)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ kind: fc.constant('push' as const), node }) },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('delete' as const), node, tag: fc.nat(20) })
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('restart' as const), node }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('replace' as const), node }) },
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
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('pass' as const), rounds: fc.constant(1) })
  }
)
const someSteps = fc.array(step, { maxLength: 5 })
const chapter: fc.Arbitrary<Chapter> = fc.record({
  together: fc.array(step, { maxLength: 8 }),
  rounds: fc.nat(4),
  sides: fc.array(fc.nat(1), { minLength: NODES, maxLength: NODES }),
  forgetsAfter: fc.array(fc.nat(4), { minLength: 2, maxLength: 2 }),
  apart: fc.array(someSteps, { minLength: 3, maxLength: 7 }),
  meetings: fc.array(fc.tuple(node, node), { maxLength: 6 })
})
const chapters = fc.array(chapter, { minLength: 1, maxLength: 3 })

interface Tag {
  readonly name: string
  readonly writer: string
  readonly stamp: Stamp
  state: 'live' | 'deleted' | 'unknown'
  /**
   * Whether all knew of all the others that they had it, when they last were together. A tag that
   * was not may return, when sides forget each other; see `records/horizon.ts`.
   */
  isShared: boolean
}

/** A flock and what its nodes were asked to keep or delete. */
class Story {
  readonly flock: Flock
  readonly tags: Tag[] = []
  #replaced = 0

  constructor(directory: string) {
    this.flock = new Flock(directory)
  }

  async read(chapter: Chapter): Promise<void> {
    const { flock } = this
    for (const step of chapter.together) await this.tell(step)
    await flock.settle(chapter.rounds)
    for (const tag of this.tags) if (tag.state === 'live') tag.isShared = this.#isShared(tag)
    const sides = new Map(flock.birds.map(({ id }, i) => [id, chapter.sides[i] ?? 0]))
    flock.connected = (a, b) => (sides.get(a.id) ?? 0) === (sides.get(b.id) ?? 0)
    for (const [round, steps] of chapter.apart.entries()) {
      for (const step of steps) await this.tell(step)
      for (const [side, after] of chapter.forgetsAfter.entries()) {
        if (round === after) await this.#forgetOthers(side, sides)
      }
      await flock.settle(2)
    }
    flock.connected = () => true
    for (const [node, other] of chapter.meetings) await this.tell({ kind: 'level', node, other })
  }

  async tell(step: Step): Promise<void> {
    const { flock } = this
    const bird = 'node' in step ? flock.birds[step.node] : undefined
    const other = 'other' in step ? flock.birds[step.other] : undefined
    switch (step.kind) {
      case 'push':
        return await this.#push(bird)
      case 'delete':
        return await this.#delete(bird, step.tag)
      case 'restart':
        if (bird !== undefined) await flock.restart(bird)
        return
      case 'replace':
        return await this.#replace(bird)
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
    for (const { name, writer, state, isShared } of this.tags) {
      const [bird] = this.flock.birds
      const found = (await bird?.records.tag('app', name)) !== undefined
      if (state === 'live') assert.ok(found, `${name} of ${writer} is lost`)
      if (state === 'deleted' && isShared) assert.ok(!found, `${name} has returned`)
    }
  }

  async #push(bird: Bird | undefined): Promise<void> {
    if (bird === undefined) return
    const name = `v${this.tags.length}`
    const [applied] = await bird.records.write([tagged(name)])
    const { stamp } = decodeRecord(applied?.bytes ?? Buffer.alloc(0))
    this.tags.push({ name, writer: bird.id, stamp, state: 'live', isShared: false })
  }

  #isShared({ stamp }: Tag): boolean {
    const { birds } = this.flock
    return birds.every(({ id, records }) => {
      const { shared } = records.forgetting.standing.testimony
      return birds.every(other => other.id === id || (shared.get(other.id)?.stamp ?? -1) >= stamp)
    })
  }

  /** Each of a side is told to by the first of them. */
  async #forgetOthers(side: number, sides: ReadonlyMap<string, number>): Promise<void> {
    const { birds } = this.flock
    const teller = birds.find(({ id }) => (sides.get(id) ?? 0) === side)
    const others = birds.filter(({ id }) => (sides.get(id) ?? 0) !== side)
    await teller?.records.write(others.map(({ id }) => ({ kind: 'forget', id })))
  }

  async #delete(bird: Bird | undefined, from: number): Promise<void> {
    for (const tag of [...this.tags.slice(from), ...this.tags.slice(0, from)]) {
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
    for (const tag of this.tags) {
      tag.isShared = false
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
    fc.asyncProperty(chapters, async told => {
      const directory = await mkdtemp(join(tmpdir(), 'starling-forgetting-'))
      const story = new Story(directory)
      try {
        for (let i = 0; i < NODES; i++) await story.flock.add(`node-${i}`, START_MS)
        await story.flock.settle(2)
        for (const chapter of told) await story.read(chapter)
        await story.check()
      } finally {
        await story.flock.close()
        await rm(directory, { recursive: true, force: true })
      }
    }),
    { numRuns: Number(process.env.FORGETTING_RUNS ?? 12), endOnFailure: false }
  )
})
