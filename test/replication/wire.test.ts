import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from 'cborg'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import {
  decodeAnnouncement,
  decodeHave,
  decodeSizes,
  encodeAnnouncement,
  encodeHave,
  encodeSizes,
  MAX_HAVE_DIGESTS
} from '../../src/replication/wire.ts'
import { named } from './fixtures.ts'

const digests = [named('a'), digestOf(Buffer.from('b'), 'sha512')]
const isMalformed = (error: unknown) => isCode(error, 'PEER_FAILED')

test('announcements survive the wire', () => {
  const held = { kind: 'held', digests } as const
  assert.deepEqual(decodeAnnouncement(encodeAnnouncement(held)), held)
  const records = { kind: 'records', records: [Uint8Array.of(1, 2), Uint8Array.of()] } as const
  assert.deepEqual(decodeAnnouncement(encodeAnnouncement(records)), records)
})

test('an announcement of a later version is passed over', () => {
  assert.equal(decodeAnnouncement(encode(['weather', [Uint8Array.of(1)]])), undefined)
})

test('what is no announcement is refused', () => {
  const items = [
    1,
    'held',
    {},
    ['held'],
    ['held', 'x'],
    ['held', [1]],
    ['held', [Uint8Array.of(1)]]
  ]
  for (const item of items) {
    assert.throws(() => decodeAnnouncement(encode(item)), isMalformed, JSON.stringify(item))
  }
  for (const bytes of [Uint8Array.of(), Uint8Array.of(0xff), Buffer.alloc(1_000, 0x9f)]) {
    assert.throws(() => decodeAnnouncement(bytes), isMalformed)
  }
})

test('questions and answers about holdings survive the wire', () => {
  assert.deepEqual(decodeHave(encodeHave(digests)), digests)
  assert.deepEqual(decodeSizes(encodeSizes([5, -1, 0]), 3), [5, -1, 0])
})

test('a question with too many or bad digests, and an answer of another length, are refused', () => {
  const many = Array.from({ length: MAX_HAVE_DIGESTS + 1 }, () => named('a'))
  assert.throws(() => decodeHave(encode(many)), isMalformed)
  assert.throws(() => decodeHave(encode(['sha256:../../etc/passwd'])), isMalformed)
  assert.throws(() => decodeHave(encode([7])), isMalformed)
  assert.throws(() => decodeSizes(encodeSizes([1]), 2), isMalformed)
  assert.throws(() => decodeSizes(encode(['1']), 1), isMalformed)
  assert.throws(() => decodeSizes(encode([1.5]), 1), isMalformed)
})
