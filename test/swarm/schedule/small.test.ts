import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  BATCH_BLOBS,
  BATCH_BYTES,
  carriageOf,
  INLINE_BYTES,
  planBatches
} from '../../../src/swarm/schedule/small.ts'

const missing = fc.array(
  fc.record({
    sizeBytes: fc.integer({ min: 0, max: 1024 * 1024 }),
    holders: fc.subarray(['a', 'b', 'c', 'd', 'e'])
  }),
  { maxLength: 600 }
)

test('each small blob that someone has is asked for once, of someone who has it', () => {
  fc.assert(
    fc.property(missing, drawn => {
      const blobs = drawn.map((each, index) => ({ ...each, blob: `blob-${index}` }))
      const batches = planBatches(blobs, () => 0.5)
      const asked = batches.flatMap(batch => batch.blobs)
      const known = blobs.filter(({ holders }) => holders.length > 0).map(({ blob }) => blob)
      assert.deepEqual(asked.toSorted(), known.toSorted())
      for (const { peer, blobs: names, bytes } of batches) {
        assert.ok(names.length <= BATCH_BLOBS && bytes <= BATCH_BYTES)
        for (const name of names) {
          assert.ok(blobs.find(({ blob }) => blob === name)?.holders.includes(peer))
        }
      }
    })
  )
})

test('many small blobs that everyone has are shared out over three holders', () => {
  const holders = ['a', 'b', 'c', 'd', 'e']
  const blobs = Array.from({ length: 90 }, (_, index) => ({
    blob: `blob-${index}`,
    sizeBytes: 40_000,
    holders
  }))
  const batches = planBatches(blobs, () => 0)
  assert.deepEqual(
    batches.map(batch => batch.blobs.length),
    [30, 30, 30]
  )
})

test('tiny blobs travel with their announcement, small ones in batches, large ones in pieces', () => {
  assert.equal(carriageOf(INLINE_BYTES), 'inline')
  assert.equal(carriageOf(INLINE_BYTES + 1), 'batch')
  assert.equal(carriageOf(1024 * 1024 + 1), 'pieces')
})
