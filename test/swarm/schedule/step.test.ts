import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bits } from '../../../src/swarm/schedule/bits.ts'
import { DEFAULT_LIMITS } from '../../../src/swarm/schedule/limits.ts'
import { start } from './flock.ts'
import { newNode, of } from './lone-node.ts'

test('the piece that the fewest neighbours have is asked for first', () => {
  const node = newNode({ ...DEFAULT_LIMITS, blobPieces: 1 })
  node.fetch('blob', 4)
  const [first] = of(node.hello('a', 'blob', [3], 4), 'want')
  node.hello('a', 'blob', [0, 1, 2, 3], 4)
  node.hello('b', 'blob', [0, 2], 4)
  const next = node.tell({ kind: 'arrived', peer: 'a', blob: 'blob', piece: first?.piece ?? -1 })
  node.tell({ kind: 'arrived', peer: 'b', blob: 'blob', piece: 0 })
  assert.equal(first?.piece, 3)
  assert.deepEqual(
    of(next, 'want').map(({ peer }) => peer),
    ['b']
  )
  const last = node.tell({ kind: 'arrived', peer: 'b', blob: 'blob', piece: 2 })
  assert.deepEqual(
    of(last, 'want').map(({ piece }) => piece),
    [1]
  )
})

test('a piece that is past its deadline is cancelled, and asked of whoever else has it', () => {
  const node = newNode()
  node.fetch('blob', 1)
  const [first] = of(node.hello('a', 'blob', [0], 1), 'want')
  assert.equal(first?.peer, 'a')
  const late = node.at(10_000, { kind: 'tick' })
  assert.deepEqual(
    of(late, 'cancel').map(({ peer }) => peer),
    ['a']
  )
  node.tell({ kind: 'busy', peer: 'a', blob: 'blob', piece: 0, retryMs: 60_000 })
  const next = node.hello('b', 'blob', [0], 1)
  assert.deepEqual(
    of(next, 'want').map(({ peer }) => peer),
    ['b']
  )
})

test('a slow piece is asked of a second neighbour at the end, and cancelled where it comes late', () => {
  const node = newNode()
  node.fetch('blob', 1)
  node.hello('a', 'blob', [0], 1)
  node.hello('b', 'blob', [0], 1)
  const swapped = of(node.at(300, { kind: 'tick' }), 'want')
  assert.deepEqual(
    swapped.map(({ peer }) => peer),
    ['b']
  )
  const done = node.tell({ kind: 'arrived', peer: 'b', blob: 'blob', piece: 0 })
  assert.deepEqual(
    of(done, 'cancel').map(({ peer }) => peer),
    ['a']
  )
  assert.deepEqual(of(done, 'complete').length, 1)
})

test('of two neighbours asked for a piece the one that has not begun is cancelled', () => {
  const node = newNode()
  node.fetch('blob', 1)
  node.hello('a', 'blob', [0], 1)
  node.hello('b', 'blob', [0], 1)
  node.at(300, { kind: 'tick' })
  const begun = node.tell({ kind: 'started', peer: 'a', blob: 'blob', piece: 0 })
  assert.deepEqual(
    of(begun, 'cancel').map(({ peer }) => peer),
    ['b']
  )
})

test('who sends a wrong piece is complained of and asked for nothing, then forgiven', () => {
  const node = newNode()
  node.fetch('blob', 2)
  node.hello('a', 'blob', [0, 1], 2)
  const told = node.tell({ kind: 'wrong', peer: 'a', blob: 'blob', piece: 0 })
  assert.deepEqual(
    of(told, 'complain').map(({ peer, asideMs }) => ({ peer, asideMs })),
    [{ peer: 'a', asideMs: 300_000 }]
  )
  assert.deepEqual(of(told, 'want'), [])
  assert.deepEqual(of(node.at(299_000, { kind: 'tick' }), 'want'), [])
  assert.equal(of(node.at(301_000, { kind: 'tick' }), 'want').length, 2)
})

test('a neighbour that is busy is left alone until it said, and not held to be slow', () => {
  const node = newNode()
  node.fetch('blob', 1)
  node.hello('a', 'blob', [0], 1)
  const busy = node.tell({ kind: 'busy', peer: 'a', blob: 'blob', piece: 0, retryMs: 400 })
  assert.deepEqual(of(busy, 'want'), [])
  assert.equal(of(node.at(500, { kind: 'tick' }), 'want').length, 1)
  assert.equal(node.schedule.peers.get('a')?.standing.kind, 'good')
})

test('the loss of a neighbour frees what was asked of it at once', () => {
  const node = newNode()
  node.fetch('blob', 1)
  node.hello('a', 'blob', [0], 1)
  node.hello('b', 'blob', [0], 1)
  const wants = of(node.tell({ kind: 'peer-down', peer: 'a' }), 'want')
  assert.deepEqual(
    wants.map(({ peer }) => peer),
    ['b']
  )
})

test('the oldest blob is finished first, and one that a client awaits before all', () => {
  const node = newNode({ ...DEFAULT_LIMITS, activeBlobs: 1 })
  node.fetch('young', 4, 'background', 2)
  node.fetch('old', 4, 'background', 1)
  const first = [...node.hello('a', 'young', [0, 1, 2, 3], 4), ...node.hello('a', 'old', [0, 1], 4)]
  assert.deepEqual(new Set(of(first, 'want').map(({ blob }) => blob)), new Set(['old']))
  node.hello('b', 'young', [0, 1, 2, 3], 4)
  const urgent = of(node.tell({ kind: 'await', blob: 'young', cursor: 0 }), 'want')
  assert.ok(urgent.length > 0 && urgent.every(({ blob }) => blob === 'young'))
})

test('a blob that a client awaits comes in order from where the client is', () => {
  const node = newNode({ ...DEFAULT_LIMITS, startWindow: 4 })
  node.fetch('blob', 100, 'awaited')
  node.tell({ kind: 'await', blob: 'blob', cursor: 10 })
  const wants = of(node.hello('a', 'blob', range(100), 100), 'want')
  assert.deepEqual(
    wants.map(({ piece }) => piece),
    [10, 11, 12, 13]
  )
})

test('announcements wait to be sent together, but not for long', () => {
  const node = newNode()
  node.fetch('blob', 4)
  node.hello('a', 'blob', [0, 1, 2, 3], 4)
  node.hello('b', 'blob', [], 4)
  const now = node.tell({ kind: 'arrived', peer: 'a', blob: 'blob', piece: 0 })
  assert.deepEqual(of(now, 'have'), [])
  node.tell({ kind: 'arrived', peer: 'a', blob: 'blob', piece: 1 })
  assert.deepEqual(of(node.at(10, { kind: 'tick' }), 'have'), [])
  const due = of(node.at(DEFAULT_LIMITS.announceLateMs, { kind: 'tick' }), 'have')
  assert.deepEqual(
    due.map(({ peer, pieces }) => ({ peer, pieces })),
    [{ peer: 'b', pieces: [0, 1] }]
  )
})

test('what no neighbour has is announced soon, and all that waits with it', () => {
  const node = newNode()
  node.fetch('blob', 4)
  node.hello('a', 'blob', [0], 4)
  node.hello('b', 'blob', [], 4)
  node.tell({ kind: 'offer', peer: 'a', blob: 'blob', pieces: [1] })
  node.tell({ kind: 'arrived', peer: 'a', blob: 'blob', piece: 0 })
  node.tell({ kind: 'arrived', peer: 'a', blob: 'blob', piece: 1 })
  const due = of(node.at(10, { kind: 'tick' }), 'have')
  assert.deepEqual(
    due.map(({ peer, pieces }) => ({ peer, pieces })),
    [
      { peer: 'a', pieces: [1] },
      { peer: 'b', pieces: [0, 1] }
    ]
  )
})

test('a source offers each piece to one neighbour and shows it to the others once it is seen', () => {
  const node = newNode({ ...DEFAULT_LIMITS, offerWindow: 1 })
  for (const peer of ['a', 'b']) node.tell({ kind: 'peer-up', peer })
  node.tell({ kind: 'ingest', ...start('blob', 2), held: Bits.full(2) })
  const first = of(node.hello('a', 'blob', [], 2), 'offer')
  const second = of(node.hello('b', 'blob', [], 2), 'offer')
  const offers = [...first, ...second].map(({ peer, pieces }) => ({ peer, pieces }))
  assert.deepEqual(offers, [
    { peer: 'a', pieces: [0] },
    { peer: 'b', pieces: [1] }
  ])
  node.tell({ kind: 'have', peer: 'a', blob: 'blob', pieces: [0] })
  const shown = of(node.at(DEFAULT_LIMITS.announceLateMs, { kind: 'tick' }), 'have')
  assert.deepEqual(
    shown.map(({ peer, pieces }) => ({ peer, pieces })),
    [{ peer: 'b', pieces: [0] }]
  )
})

test('an offer that is not taken, or taken by one that is lost, goes to another neighbour', () => {
  const node = newNode({ ...DEFAULT_LIMITS, offerWindow: 1 })
  for (const peer of ['a', 'b', 'c']) node.tell({ kind: 'peer-up', peer })
  node.tell({ kind: 'ingest', ...start('blob', 1), held: Bits.full(1) })
  const first = ['a', 'b', 'c'].flatMap(peer => of(node.hello(peer, 'blob', [], 1), 'offer'))
  assert.deepEqual(
    first.map(({ peer }) => peer),
    ['a']
  )
  const late = of(node.at(60_000, { kind: 'tick' }), 'offer')
  assert.deepEqual(
    late.map(({ peer }) => peer),
    ['b']
  )
  const lost = of(node.tell({ kind: 'peer-down', peer: 'b' }), 'offer')
  assert.deepEqual(
    lost.map(({ peer }) => peer),
    ['c']
  )
})

test('pieces of a push that still streams in are offered as they come', () => {
  const node = newNode()
  node.tell({ kind: 'ingest', ...start('blob', 3), held: new Bits(3) })
  node.hello('a', 'blob', [], 3)
  node.hello('b', 'blob', [], 3)
  const offered = of(node.tell({ kind: 'local', blob: 'blob', piece: 0 }), 'offer')
  assert.deepEqual(
    offered.map(({ pieces }) => pieces),
    [[0]]
  )
})

test('news of pieces that the blob does not have is ignored', () => {
  const node = newNode()
  node.fetch('blob', 2)
  node.hello('a', 'blob', [0, 1], 2)
  const pieces = [-1, 2, 4_000_000_000, Number.NaN, 0.5]
  node.tell({ kind: 'have', peer: 'a', blob: 'blob', pieces })
  node.tell({ kind: 'offer', peer: 'a', blob: 'blob', pieces })
  const swarm = node.schedule.swarms.get('blob')
  assert.deepEqual([...(swarm?.links.get('a')?.have ?? [])], [0, 1])
  assert.deepEqual(swarm?.links.get('a')?.offers, [])
})

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
