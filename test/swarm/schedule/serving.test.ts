import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Bits } from '../../../src/swarm/schedule/bits.ts'
import { DEFAULT_LIMITS } from '../../../src/swarm/schedule/limits.ts'
import type { Effect, Urgency } from '../../../src/swarm/schedule/messages.ts'
import { start } from './flock.ts'
import { newNode, of } from './lone-node.ts'

test('requests are answered as far as there are streams, and turned down when the queue is full', () => {
  const node = newNode({ ...DEFAULT_LIMITS, uploadStreams: 1, uploadQueue: 1 })
  node.tell({ kind: 'ingest', ...start('blob', 3), held: Bits.full(3) })
  node.hello('a', 'blob', [], 3)
  const answers = [0, 1, 2].flatMap(piece =>
    node.tell({ kind: 'want', peer: 'a', blob: 'blob', piece, urgency: 'background' })
  )
  assert.deepEqual(
    of(answers, 'serve').map(({ piece }) => piece),
    [0]
  )
  assert.deepEqual(
    of(answers, 'busy').map(({ piece }) => piece),
    [2]
  )
  const next = node.tell({ kind: 'sent', peer: 'a', blob: 'blob', piece: 0 })
  assert.deepEqual(
    of(next, 'serve').map(({ piece }) => piece),
    [1]
  )
})

test('a request that is cancelled is not answered, and one being answered is stopped', () => {
  const node = newNode({ ...DEFAULT_LIMITS, uploadStreams: 1 })
  node.tell({ kind: 'ingest', ...start('blob', 2), held: Bits.full(2) })
  node.hello('a', 'blob', [], 2)
  for (const piece of [0, 1]) {
    node.tell({ kind: 'want', peer: 'a', blob: 'blob', piece, urgency: 'background' })
  }
  node.tell({ kind: 'cancel', peer: 'a', blob: 'blob', piece: 1 })
  const stopped = node.tell({ kind: 'cancel', peer: 'a', blob: 'blob', piece: 0 })
  assert.deepEqual(
    of(stopped, 'stop').map(({ piece }) => piece),
    [0]
  )
  assert.deepEqual(of(stopped, 'serve'), [])
})

test('the most urgent is served first, and what is least urgent is not starved', () => {
  const node = newNode({ ...DEFAULT_LIMITS, uploadStreams: 1, uploadQueue: 100 })
  const pieces = 60
  node.tell({ kind: 'ingest', ...start('blob', pieces), held: Bits.full(pieces) })
  node.hello('a', 'blob', [], pieces)
  const served: number[] = []
  const want = (piece: number, urgency: Urgency) =>
    note(node.tell({ kind: 'want', peer: 'a', blob: 'blob', piece, urgency }))
  const note = (effects: readonly Effect[]) => {
    for (const { piece } of of(effects, 'serve')) served.push(piece)
  }
  want(0, 'background')
  want(1, 'background')
  for (let piece = 2; piece < pieces; piece++) want(piece, 'awaited')
  for (let turn = 0; turn < 20; turn++) {
    note(node.tell({ kind: 'sent', peer: 'a', blob: 'blob', piece: served.at(-1) ?? 0 }))
  }
  assert.ok(served.indexOf(1) > 3 && served.indexOf(1) < 15, served.join())
})
