import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bits } from '../../../src/swarm/schedule/bits.ts'
import { DEFAULT_LIMITS } from '../../../src/swarm/schedule/limits.ts'
import type { Effect, Event } from '../../../src/swarm/schedule/messages.ts'
import { newSchedule } from '../../../src/swarm/schedule/schedule.ts'
import { step } from '../../../src/swarm/schedule/step.ts'
import { start } from './flock.ts'

const CAPACITY = 1_000
const growing = { ...start('push', CAPACITY), held: new Bits(CAPACITY) }

test('a push of unknown size is complete when its size is known and all pieces are here', () => {
  const node = newNode({ kind: 'fetch', ...growing, urgency: 'background', order: 0 })
  node.tell({ kind: 'peer-up', peer: 'a' })
  node.tell({ kind: 'hello', peer: 'a', blob: 'push', held: bits(0, 1), reply: false })
  for (const piece of [0, 1]) {
    const effects = node.tell({ kind: 'arrived', peer: 'a', blob: 'push', piece })
    assert.equal(of(effects, 'complete').length, 0)
  }
  const effects = node.tell({ kind: 'sized', blob: 'push', sizeBytes: 1, pieceCount: 2 })
  assert.equal(of(effects, 'complete').length, 1)
})

test('what was asked for beyond the end is taken back', () => {
  const node = newNode({ kind: 'fetch', ...growing, urgency: 'background', order: 0 })
  node.tell({ kind: 'peer-up', peer: 'liar' })
  const greeted = {
    kind: 'hello',
    peer: 'liar',
    blob: 'push',
    held: bits(700),
    reply: false
  } as const
  assert.equal(of(node.tell(greeted), 'want').length, 1)
  const effects = node.tell({ kind: 'sized', blob: 'push', sizeBytes: 1, pieceCount: 2 })
  assert.deepEqual(
    of(effects, 'cancel').map(({ piece }) => piece),
    [700]
  )
  assert.equal(of(node.tell(greeted), 'want').length, 0)
})

test('each new piece of a push is offered to one neighbour, and announced once that one has it', () => {
  const node = newNode({ kind: 'ingest', ...growing })
  for (const peer of ['a', 'b']) {
    node.tell({ kind: 'peer-up', peer })
    node.tell({ kind: 'hello', peer, blob: 'push', held: bits(), reply: false })
  }
  const [offer, ...others] = of(node.tell({ kind: 'local', blob: 'push', piece: 0 }), 'offer')
  assert.deepEqual([offer?.pieces, others], [[0], []])
  const taker = offer?.peer ?? ''
  node.tell({ kind: 'have', peer: taker, blob: 'push', pieces: [0] })
  const told = of(node.at(DEFAULT_LIMITS.announceLateMs, { kind: 'tick' }), 'have')
  assert.deepEqual(
    told.map(({ peer }) => peer),
    ['a', 'b'].filter(each => each !== taker)
  )
})

test('a piece that turned out wrong is asked for again, and the neighbours hear of it', () => {
  const node = newNode({
    kind: 'fetch',
    ...start('blob', 1),
    held: new Bits(1),
    urgency: 'background',
    order: 0
  })
  for (const peer of ['a', 'b']) {
    node.tell({ kind: 'peer-up', peer })
    node.tell({ kind: 'hello', peer, blob: 'blob', held: Bits.full(1), reply: false })
  }
  node.tell({ kind: 'arrived', peer: 'a', blob: 'blob', piece: 0 })
  node.tell({ kind: 'leave', peer: 'a', blob: 'blob' })
  const effects = node.tell({ kind: 'lost', blob: 'blob', pieces: [0] })
  assert.deepEqual(
    of(effects, 'want').map(({ peer }) => peer),
    ['b']
  )
  assert.deepEqual(
    of(effects, 'hello').map(({ held }) => held.count),
    [0]
  )
})

test('a neighbour that lied is asked for nothing any more', () => {
  const node = newNode({
    kind: 'fetch',
    ...start('blob', 9),
    held: new Bits(9),
    urgency: 'background',
    order: 0
  })
  node.tell({ kind: 'peer-up', peer: 'a' })
  node.tell({ kind: 'hello', peer: 'a', blob: 'blob', held: Bits.full(9), reply: false })
  const effects = node.tell({ kind: 'lied', peer: 'a' })
  assert.ok(of(effects, 'cancel').length > 0)
  assert.equal(of(effects, 'want').length, 0)
})

test('bits travel as bytes, and those beyond the length are dropped', () => {
  const sent = new Bits(100)
  for (const index of [0, 7, 8, 31, 32, 99]) sent.add(index)
  assert.deepEqual([...Bits.fromBytes(sent.toBytes(), 100)], [0, 7, 8, 31, 32, 99])
  assert.deepEqual([...Bits.fromBytes(sent.toBytes(), 32)], [0, 7, 8, 31])
  assert.equal(new Bits(100).toBytes().length, 0)
  sent.shrink(8)
  assert.deepEqual([[...sent], sent.length, sent.count], [[0, 7], 8, 2])
})

function newNode(first: Event) {
  const schedule = newSchedule()
  let now = 0
  const tell = (event: Event) => step(schedule, event, now, () => 0)
  tell(first)
  return {
    tell,
    at(atMs: number, event: Event) {
      now = atMs
      return tell(event)
    }
  }
}

function bits(...pieces: readonly number[]): Bits {
  const held = new Bits(CAPACITY)
  for (const piece of pieces) held.add(piece)
  return held
}

function of<Kind extends Effect['kind']>(effects: readonly Effect[], kind: Kind) {
  return effects.filter((effect): effect is Extract<Effect, { kind: Kind }> => effect.kind === kind)
}
