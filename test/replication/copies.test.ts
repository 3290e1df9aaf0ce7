import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import { Copies } from '../../src/replication/copies.ts'
import { Graph } from '../../src/replication/graph.ts'
import { MANIFEST_TYPE, named, peer, reference } from './fixtures.ts'

const image = named('image')
const layer = named('layer')

/** An image linked by the tenth record; `early` and `late` are our roots before and after it. */
function openCopies(peers: readonly PeerView[] = []): Copies {
  const graph = new Graph()
  graph.addLink('app', image, MANIFEST_TYPE)
  graph.addManifest(image, [reference(layer)])
  const sequences = new Map([
    ['early', 9],
    ['late', 10]
  ])
  return new Copies({
    mesh: { peers: () => peers },
    inventory: {
      holdsAll: () => true,
      wholeReach: manifest => graph.reach(manifest),
      linkedAt: digest => (digest === image ? 10 : 0),
      caughtUp: () => ({ root: 'late', sequence: 10 }),
      missing: () => new Map()
    },
    roots: { sequenceOf: root => sequences.get(root) }
  })
}

test('a member that has caught up and misses nothing holds the image', () => {
  assert.equal(openCopies().holdsThere(peer('a', {}, { caughtUp: 'late' }), image), true)
})

test('a member that misses a part of the image does not hold it', () => {
  const missing = [named('something'), layer]
  const beat = { caughtUp: 'late', missing, missingCount: 2 }
  assert.equal(openCopies().holdsThere(peer('a', {}, beat), image), false)
  assert.deepEqual(openCopies().missingThere(peer('a', {}, beat), image), [layer])
})

test('a member that misses something else holds the image', () => {
  const beat = { caughtUp: 'late', missing: [named('something')], missingCount: 1 }
  assert.equal(openCopies().holdsThere(peer('a', {}, beat), image), true)
})

test('nothing is known of a member that has not heard of the image, or whose state is not ours', () => {
  const copies = openCopies()
  assert.equal(copies.holdsThere(peer('a', {}, { caughtUp: 'early' }), image), undefined)
  assert.equal(copies.holdsThere(peer('b', {}, { caughtUp: 'of others' }), image), undefined)
})

test('nothing is known of a member that is away, never heard, or misses more than it names', () => {
  const copies = openCopies()
  const beat = { caughtUp: 'late', missing: [named('something')], missingCount: 2_000 }
  assert.equal(copies.holdsThere(peer('a', {}, beat), image), undefined)
  const away = peer('b', { state: 'away' }, { caughtUp: 'late' })
  assert.equal(copies.holdsThere(away, image), undefined)
  assert.equal(copies.holdsThere(peer('c', { beat: undefined }), image), undefined)
})

test('a member that holds nothing by its settings is no copy', () => {
  const nothing = peer('a', { hold: 'none' }, { caughtUp: 'late' })
  assert.equal(openCopies().holdsThere(nothing, image), false)
})

test('once caught up a process stays so, whatever its next root is', () => {
  const copies = openCopies()
  copies.holdsThere(peer('a', {}, { caughtUp: 'late' }), image)
  assert.equal(copies.holdsThere(peer('a', {}, { caughtUp: 'of others' }), image), true)
})

test('a member that started anew may have lost everything, and has to catch up again', () => {
  const copies = openCopies()
  copies.holdsThere(peer('a', {}, { caughtUp: 'late' }), image)
  const empty = { boot: 'another', caughtUp: 'of nothing' }
  assert.equal(copies.holdsThere(peer('a', {}, empty), image), undefined)
  assert.equal(copies.holdsThere(peer('a', {}, { ...empty, caughtUp: 'late' }), image), true)
})

test('of an image whose manifest is not here, who has caught up and lacks nothing is a copy', () => {
  const elsewhere = named('not here')
  const copies = new Copies({
    mesh: { peers: () => [] },
    inventory: {
      holdsAll: () => false,
      wholeReach: () => undefined,
      linkedAt: () => 10,
      caughtUp: () => ({ root: 'late', sequence: 10 }),
      missing: () => new Map()
    },
    roots: { sequenceOf: root => (root === 'late' ? 10 : 9) }
  })
  const holds = (beat: Parameters<typeof peer>[2]) =>
    copies.holdsThere(peer('a', {}, beat), elsewhere)
  assert.equal(holds({ caughtUp: 'early' }), undefined)
  assert.equal(holds({ caughtUp: 'late' }), true)
  assert.equal(holds({ caughtUp: 'late', missing: [elsewhere], missingCount: 1 }), false)
  assert.equal(holds({ caughtUp: 'late', missing: [named('other')], missingCount: 1 }), undefined)
})

test('complete is who lives, has caught up and lacks nothing', () => {
  const peers = [
    peer('a', {}, { caughtUp: 'late' }),
    peer('b', {}, { caughtUp: 'early' }),
    peer('c', {}, { caughtUp: 'late', missing: [image], missingCount: 1 }),
    peer('d', { state: 'away' }, { caughtUp: 'late' }),
    peer('e', { hold: 'none' }, { caughtUp: 'late' })
  ]
  assert.equal(openCopies(peers).complete(), 1)
})

test('only those known to hold the image are counted, and this node', () => {
  const peers = [
    peer('a', {}, { caughtUp: 'late' }),
    peer('b', {}, { caughtUp: 'early' }),
    peer('c', {}, { caughtUp: 'late', missing: [image], missingCount: 1 })
  ]
  assert.equal(openCopies(peers).count(image), 2)
})
