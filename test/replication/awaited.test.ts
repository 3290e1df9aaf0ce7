import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../src/digest.ts'
import { Awaited } from '../../src/replication/awaited.ts'
import type { Download } from '../../src/replication/download.ts'
import { Graph } from '../../src/replication/graph.ts'
import { MANIFEST_TYPE, named, reference } from './fixtures.ts'

const image = named('image')
const layers = Array.from({ length: 8 }, (_, index) => named(`layer ${index}`))

/** Nothing of the image is here; its manifest is read once it has come. */
function setUp(hasRoom = true) {
  const graph = new Graph()
  graph.addLink('app', image, MANIFEST_TYPE)
  const missing = new Map([[image, { sinceMs: 0 }]])
  const started = new Map<Digest, PromiseWithResolvers<void>>()
  const awaited = new Awaited({
    inventory: { graph, missing: () => missing, settled: async () => {} },
    downloads: {
      start: (digest, urgency) => {
        assert.equal(urgency, 'repair')
        const download = Promise.withResolvers<void>()
        started.set(digest, download)
        return { done: download.promise } as unknown as Download
      }
    },
    fits: () => hasRoom
  })
  const held = async (digest: Digest) => {
    missing.delete(digest)
    if (digest === image) {
      graph.addManifest(
        image,
        layers.map(layer => reference(layer))
      )
      for (const layer of layers) missing.set(layer, { sinceMs: 0 })
    }
    started.get(digest)?.resolve()
    await new Promise(resolve => setImmediate(resolve))
  }
  return { awaited, held, started: () => [...started.keys()] }
}

test('what somebody waits for is fetched at once: the manifest, then what it names, some at a time', async () => {
  const { awaited, held, started } = setUp()
  awaited.fetch(image, new AbortController().signal)
  assert.deepEqual(started(), [image])
  await held(image)
  assert.deepEqual(started(), [image, ...layers.slice(0, 6)])
  await held(named('layer 0'))
  assert.deepEqual(started(), [image, ...layers.slice(0, 7)])
})

test('when nobody waits any more no further blob is fetched out of turn', async () => {
  const { awaited, held, started } = setUp()
  const waiting = new AbortController()
  awaited.fetch(image, waiting.signal)
  waiting.abort()
  await held(image)
  assert.deepEqual(started(), [image])
})

test('a node without room fetches nothing, whoever waits', () => {
  const { awaited, started } = setUp(false)
  awaited.fetch(image, new AbortController().signal)
  assert.deepEqual(started(), [])
})
