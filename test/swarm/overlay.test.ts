import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  FULL_MESH_NODES,
  neighboursOf,
  type Overlay,
  overlayOf,
  RINGS
} from '../../src/swarm/overlay.ts'

const clusters = fc
  .tuple(fc.integer({ min: 1, max: 150 }), fc.nat())
  .map(([count, salt]) => Array.from({ length: count }, (_, index) => `node-${salt}-${index}`))

test('up to thirteen nodes everyone is a neighbour of everyone', () => {
  const ids = Array.from({ length: FULL_MESH_NODES }, (_, index) => `node-${index}`)
  const overlay = overlayOf(ids)
  for (const id of ids) {
    assert.deepEqual(neighboursOf(overlay, id), ids.filter(each => each !== id).sort())
  }
})

test('the overlay is symmetric, connected and free of loops', () => {
  fc.assert(
    fc.property(clusters, ids => {
      const overlay = overlayOf(ids)
      for (const id of ids) {
        const neighbours = neighboursOf(overlay, id)
        assert.ok(!neighbours.includes(id))
        for (const each of neighbours) assert.ok(neighboursOf(overlay, each).includes(id))
      }
      assert.equal(reachable(overlay, ids[0] ?? ''), ids.length)
    }),
    { numRuns: 40 }
  )
})

test('every node has two neighbours for each ring, less the few links that rings share', () => {
  const ids = Array.from({ length: 1000 }, (_, index) => `node-${index}`)
  const overlay = overlayOf(ids)
  const degrees = ids.map(id => neighboursOf(overlay, id).length)
  assert.equal(Math.max(...degrees), 2 * RINGS)
  assert.ok(Math.min(...degrees) >= 2 * RINGS - 2)
  assert.ok(degrees.filter(degree => degree === 2 * RINGS).length > 900)
})

test('all nodes of a thousand are at most five links apart', () => {
  const overlay = overlayOf(Array.from({ length: 1000 }, (_, index) => `node-${index}`))
  assert.ok(distanceToLast(overlay, 'node-0') <= 5)
})

test('equal members give equal neighbours, in whatever order they became known', () => {
  fc.assert(
    fc.property(clusters, ids => {
      const id = ids[0] ?? ''
      assert.deepEqual(
        neighboursOf(overlayOf(ids), id),
        neighboursOf(overlayOf([...ids].reverse()), id)
      )
    }),
    { numRuns: 20 }
  )
})

test('who joins or leaves changes at most three links per ring, and no others', () => {
  fc.assert(
    fc.property(clusters, fc.nat(), (ids, draw) => {
      const leaver = ids[draw % ids.length] ?? ''
      const rest = ids.filter(id => id !== leaver)
      fc.pre(rest.length > FULL_MESH_NODES)
      const with_ = links(overlayOf(ids), ids)
      const without = links(overlayOf(rest), rest)
      const gone = [...with_].filter(link => !without.has(link))
      const made = [...without].filter(link => !with_.has(link))
      assert.ok(gone.length <= 2 * RINGS, `${gone.length} links gone`)
      assert.ok(made.length <= RINGS, `${made.length} links made`)
      assert.ok(gone.every(link => link.split(' ').includes(leaver)))
    }),
    { numRuns: 40 }
  )
})

test('an id that is not a member has no neighbours', () => {
  assert.deepEqual(neighboursOf(overlayOf(['a', 'b']), 'c'), [])
})

function links(overlay: Overlay, ids: readonly string[]): Set<string> {
  return new Set(
    ids.flatMap(id => neighboursOf(overlay, id).map(each => [id, each].sort().join(' ')))
  )
}

function reachable(overlay: Overlay, from: string): number {
  return layers(overlay, from).flat().length
}

function distanceToLast(overlay: Overlay, from: string): number {
  return layers(overlay, from).length - 1
}

function layers(overlay: Overlay, from: string): string[][] {
  const seen = new Set([from])
  const found = [[from]]
  for (let layer = [from]; layer.length > 0; ) {
    layer = layer.flatMap(id => {
      const fresh = neighboursOf(overlay, id).filter(each => !seen.has(each))
      for (const each of fresh) seen.add(each)
      return fresh
    })
    if (layer.length > 0) found.push(layer)
  }
  return found
}
