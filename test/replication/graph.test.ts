import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Graph } from '../../src/replication/graph.ts'
import { INDEX_TYPE, MANIFEST_TYPE, named, reference } from './fixtures.ts'

const index = named('index')
const image = named('image')
const other = named('other image')
const layer = named('layer')
const shared = named('shared layer')

/**
 * An index of one image with a layer, both pushed, and another image that shares a layer with it.
 */
function twoImages(): Graph {
  const graph = new Graph()
  graph.addLink('a/app', image, MANIFEST_TYPE)
  graph.addLink('a/app', index, INDEX_TYPE)
  graph.addManifest(index, [reference(image, { manifestType: MANIFEST_TYPE })])
  graph.addManifest(image, [reference(layer, { sizeBytes: 7 }), reference(shared)])
  graph.addLink('b/app', other, MANIFEST_TYPE)
  graph.addManifest(other, [reference(shared)])
  return graph
}

test('a manifest reaches all that it names, through the manifests that an index names', () => {
  assert.deepEqual(twoImages().reach(index), new Set([index, image, layer, shared]))
})

test('a blob is seen only where a manifest reaches it', () => {
  const graph = twoImages()
  assert.equal(graph.isVisible('a/app', layer), true)
  assert.equal(graph.isVisible('b/app', layer), false)
  assert.equal(graph.isVisible('a/app', shared), true)
  assert.equal(graph.isVisible('b/app', shared), true)
  assert.equal(graph.isVisible('a/app', other), false)
  assert.equal(graph.isVisible('c/app', shared), false)
})

test('a lease shows a blob in its repository only, as long as it lasts', () => {
  const graph = new Graph()
  graph.addLease('a', layer)
  assert.equal(graph.isVisible('a', layer), true)
  assert.equal(graph.isVisible('b', layer), false)
  assert.equal(graph.isWanted(layer), true)
  graph.removeLease('a', layer)
  assert.equal(graph.isVisible('a', layer), false)
  assert.equal(graph.isWanted(layer), false)
})

test('the repositories of a blob are those that it is seen in, and no others', () => {
  const graph = twoImages()
  graph.addLease('c/app', shared)
  assert.deepEqual(new Set(graph.repositoriesOf(shared)), new Set(['a/app', 'b/app', 'c/app']))
  assert.deepEqual(new Set(graph.repositoriesOf(image)), new Set(['a/app']))
  graph.addLink('d/app', other, MANIFEST_TYPE, [reference(shared).position])
  assert.equal([...graph.repositoriesOf(shared)].includes('d/app'), false)
})

test('a layer that 20,000 images share is looked up without a pause', () => {
  const graph = new Graph()
  for (let number = 0; number < 20_000; number++) {
    const manifest = named(`image ${number}`)
    graph.addLink(`repository ${number}`, manifest, MANIFEST_TYPE)
    graph.addManifest(manifest, [reference(shared)])
  }
  const started = process.cpuUsage()
  assert.equal(new Set(graph.repositoriesOf(shared)).size, 20_000)
  // To look at every image once for every image took a minute of a processor.
  assert.ok(process.cpuUsage(started).user < 2_000_000)
})

test('what one link less leaves without a way to it is not wanted any more', () => {
  const graph = twoImages()
  graph.removeLink('a/app', image)
  assert.equal(graph.isWanted(layer), true)
  graph.removeLink('a/app', index)
  assert.equal(graph.isWanted(layer), false)
  assert.equal(graph.isWanted(shared), true)
  graph.removeLink('b/app', other)
  assert.equal(graph.isWanted(shared), false)
  graph.removeLink('b/app', other)
})

test('a manifest linked in two repositories stays wanted until both let it go', () => {
  const graph = new Graph()
  graph.addLink('a', image, MANIFEST_TYPE)
  graph.addLink('b', image, MANIFEST_TYPE)
  graph.removeLink('a', image)
  assert.equal(graph.isWanted(image), true)
  assert.equal(graph.isVisible('a', image), false)
})

test('a child that an index may lack counts once it has been pushed itself', () => {
  const graph = new Graph()
  graph.addLink('a', index, INDEX_TYPE)
  graph.addManifest(index, [reference(image, { manifestType: MANIFEST_TYPE, sparse: true })])
  assert.deepEqual(graph.reach(index), new Set([index]))
  graph.addLink('a', image, MANIFEST_TYPE)
  assert.deepEqual(graph.reach(index), new Set([index, image]))
})

test('the type of a manifest is known before it is here, from the index that names it', () => {
  const graph = twoImages()
  assert.equal(graph.manifestType(image), MANIFEST_TYPE)
  assert.equal(graph.manifestType(layer), undefined)
  assert.equal(graph.sizeBytes(layer), 7)
})

test('roots are told once each', () => {
  const graph = twoImages()
  graph.addLease('a/app', layer)
  graph.addLease('a/app', index)
  assert.deepEqual([...graph.roots()].sort(), [image, index, other, layer].sort())
})

test('a link speaks for all that its manifest names, a child left out of it too, and a lease for less', () => {
  const graph = twoImages()
  const sparse = named('sparse')
  const parent = named('sparse index')
  graph.addLink('a', parent, INDEX_TYPE)
  graph.addManifest(parent, [reference(sparse, { manifestType: MANIFEST_TYPE, sparse: true })])
  assert.equal(graph.claim(sparse), 'link')
  assert.equal(graph.claim(layer), 'link')
  graph.addLease('a', layer)
  assert.equal(graph.claim(layer), 'link')
  for (const digest of [image, index]) graph.removeLink('a/app', digest)
  assert.equal(graph.claim(layer), 'lease')
  assert.equal(graph.claim(image), undefined)
})

test('a manifest that is forgotten names nothing any more, until it is read again', () => {
  const graph = twoImages()
  for (const digest of [image, index]) graph.removeLink('a/app', digest)
  for (const digest of [image, index]) graph.forget(digest)
  assert.equal(graph.isRead(index), false)
  assert.equal(graph.manifestType(image), undefined)
  assert.deepEqual(graph.reach(index), new Set([index]))
  assert.equal(graph.claim(shared), 'link')
  graph.addLink('a/app', index, INDEX_TYPE)
  assert.equal(graph.claim(layer), undefined)
  graph.addManifest(index, [reference(image, { manifestType: MANIFEST_TYPE })])
  graph.addManifest(image, [reference(layer)])
  assert.equal(graph.claim(layer), 'link')
})
