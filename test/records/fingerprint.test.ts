import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { BUCKETS, Fingerprint } from '../../src/records/fingerprint.ts'

const ids = fc.uniqueArray(fc.uint8Array({ minLength: 32, maxLength: 32 }), {
  selector: id => Buffer.from(id).toString('hex'),
  maxLength: 40
})

function fingerprintOf(ids: readonly Uint8Array[]): Fingerprint {
  const fingerprint = new Fingerprint()
  for (const id of ids) fingerprint.add(id, 100)
  return fingerprint
}

test('a set has one root, whatever was added and removed on the way there', () => {
  fc.assert(
    fc.property(ids, ids, (kept, gone) => {
      const others = gone.filter(id => !kept.some(one => Buffer.compare(one, id) === 0))
      const fingerprint = fingerprintOf([...others, ...kept.toReversed()])
      for (const id of others) fingerprint.remove(id, 100)
      assert.deepEqual(fingerprint.root(), fingerprintOf(kept).root())
      assert.deepEqual(fingerprint.bucketHashes(), fingerprintOf(kept).bucketHashes())
      assert.equal(fingerprint.sizeBytes, 100 * kept.length)
    })
  )
})

test('one id more changes the root and the hash of its bucket alone', () => {
  fc.assert(
    fc.property(ids, fc.uint8Array({ minLength: 32, maxLength: 32 }), (set, id) => {
      fc.pre(!set.some(one => Buffer.compare(one, id) === 0))
      const [before, after] = [fingerprintOf(set), fingerprintOf([...set, id])]
      assert.notEqual(before.root().hash, after.root().hash)
      const hashes = after.bucketHashes()
      const changed = before.bucketHashes().flatMap((hash, i) => (hash === hashes[i] ? [] : i))
      assert.deepEqual(changed, [id[0]])
      assert.equal(hashes.length, BUCKETS)
    })
  )
})

test('sums carry over all 32 bytes', () => {
  const most = Buffer.alloc(32, 0xff)
  const one = Buffer.alloc(32)
  one[0] = 0xff
  one[1] = 1
  const fingerprint = fingerprintOf([most, one])
  fingerprint.remove(most, 100)
  assert.deepEqual(fingerprint.root(), fingerprintOf([one]).root())
})
