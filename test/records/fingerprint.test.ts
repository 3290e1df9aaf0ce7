import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { FANOUT, Fingerprint, MAX_DEPTH } from '../../src/records/fingerprint.ts'

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
      assert.deepEqual(fingerprint.divide(''), fingerprintOf(kept).divide(''))
      assert.deepEqual(fingerprint.divide('a0f'), fingerprintOf(kept).divide('a0f'))
      assert.equal(fingerprint.sizeBytes, 100 * kept.length)
    })
  )
})

test('one id more changes the root and, on every level, the one range that it is in', () => {
  fc.assert(
    fc.property(ids, fc.uint8Array({ minLength: 32, maxLength: 32 }), (set, id) => {
      fc.pre(!set.some(one => Buffer.compare(one, id) === 0))
      const [before, after] = [fingerprintOf(set), fingerprintOf([...set, id])]
      assert.notEqual(before.root().hash, after.root().hash)
      const digits = Buffer.from(id).toString('hex')
      for (let depth = 0; depth < MAX_DEPTH; depth++) {
        const prefix = digits.slice(0, depth)
        const then = before.divide(prefix)
        const now = after.divide(prefix)
        const changed = now.flatMap((range, i) => (then[i]?.hash.equals(range.hash) ? [] : i))
        assert.deepEqual(changed, [Number.parseInt(digits.charAt(depth), 16)])
        assert.equal(now.length, FANOUT)
      }
    })
  )
})

test('a range holds what the ranges do that it divides into', () => {
  fc.assert(
    fc.property(ids, set => {
      const fingerprint = fingerprintOf(set)
      const sum = (prefix: string) =>
        fingerprint.divide(prefix).reduce((all, { count }) => all + count, 0)
      assert.equal(sum(''), set.length)
      fingerprint.divide('').forEach(({ count }, digit) => {
        assert.equal(sum(digit.toString(16)), count)
      })
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
