import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Graph } from '../../src/replication/graph.ts'
import { Losses } from '../../src/replication/losses.ts'
import { MANIFEST_TYPE, named, peer, reference } from './fixtures.ts'

const layer = named('layer')

test('what is lost is named with its tags, and who is away and may have it', async () => {
  const { images, mayHave } = await losses(2, ['v1', 'v2']).list()
  assert.deepEqual(
    images.map(({ repository, tag, blobs }) => [repository, tag, blobs]),
    [
      ['app-0', 'v1', [layer]],
      ['app-0', 'v2', [layer]],
      ['app-1', null, [layer]]
    ]
  )
  assert.deepEqual(mayHave, ['node away'])
})

test('a layer that is lost with thousands of images, or with thousands of tags, is told in short', async () => {
  assert.equal((await losses(3_000, []).list()).images.length, 1_000)
  const tags = Array.from({ length: 3_000 }, (_, number) => `v${number}`)
  assert.equal((await losses(1, tags).list()).images.length, 1_000)
})

/** Of images that share a lost layer, the first of which has these tags. */
function losses(images: number, tags: readonly string[]): Losses {
  const graph = new Graph()
  for (let number = 0; number < images; number++) {
    const manifest = named(`image ${number}`)
    graph.addLink(`app-${number}`, manifest, MANIFEST_TYPE)
    graph.addManifest(manifest, [reference(layer)])
  }
  const tagged = { repository: 'app-0', digest: named('image 0') }
  return new Losses({
    inventory: { graph, missing: () => new Map([[layer, { sinceMs: 0 }]]) },
    records: {
      tagsAll: async function* () {
        for (const tag of tags) yield { kind: 'tag', tag, ...tagged } as const
      }
    },
    replicator: { hasFailed: () => true },
    mesh: { peers: () => [peer('away', { state: 'away' }), peer('live')] },
    hasRoom: () => true
  })
}
