import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from 'cborg'
import fc from 'fast-check'
import { type Stamp, ZERO_STAMP } from '../../src/records/stamp.ts'
import { MAX_FRAME_BYTES, MAX_IDS } from '../../src/records/wire.ts'
import { decodeAnswer, encodeAnswer } from '../../src/records/wire-answer.ts'
import { decodeRequest, encodeRequest } from '../../src/records/wire-request.ts'

test('messages that make no sense are refused in our words', () => {
  const bad = [
    Buffer.alloc(0),
    Buffer.alloc(100_000, 0x81),
    Buffer.alloc(MAX_FRAME_BYTES + 1),
    Buffer.from('9bffffffffffffffff', 'hex'),
    encode('compare'),
    encode(['compare', -1, Buffer.alloc(16)]),
    encode(['compare', 1, Buffer.alloc(15)]),
    encode(['divide', ['abcd']]),
    encode(['divide', ['a', 'a1']]),
    encode(['divide', ['b', 'a']]),
    encode(['list', 3, null]),
    encode(['list', ['A'], null]),
    encode(['list', ['a'], Buffer.alloc(31)]),
    encode(['since', 'x'.repeat(65), 1]),
    encode(['since', 'x', -1]),
    encode(['get', Buffer.alloc(33)]),
    encode(['put', [Buffer.alloc(5_000)]]),
    encode(['put', 'records']),
    encode(['ids', Buffer.alloc(32 * (MAX_IDS + 1)), false]),
    encode(['summaries', Buffer.alloc(21)]),
    encode(['drop', 'everything'])
  ]
  for (const bytes of bad) {
    assert.throws(() => decodeRequest(bytes), { code: 'PEER_FAILED' })
    assert.throws(() => decodeAnswer(bytes), { code: 'PEER_FAILED' })
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), bytes => {
      try {
        decodeRequest(bytes)
      } catch (error) {
        assert.equal((error as { code: string }).code, 'PEER_FAILED')
      }
    })
  )
})

test('fields that a later version appends to a message are left alone', () => {
  const root = { count: 3, hash: 'ab'.repeat(16) }
  const later = encode(['compare', 3, Buffer.from(root.hash, 'hex'), { more: 'of it' }, 7])
  assert.deepEqual(decodeRequest(later), { kind: 'compare', root })
  const equal = decodeAnswer(encode(['equal', [3, 4, true, 'and'], 'more']))
  assert.deepEqual(equal, { kind: 'equal', terms: { dropped: 3, confirmed: 4, forgotten: true } })
})

test('messages come back as they went', () => {
  const position = { epoch: 'boot', sequence: 7 }
  assert.deepEqual(decodeRequest(encodeRequest({ kind: 'since', position })), {
    kind: 'since',
    position
  })
  const news = {
    kind: 'news',
    records: [Buffer.from('r')],
    upTo: 4,
    more: true,
    vouched: 5 as Stamp
  } as const
  assert.deepEqual(decodeAnswer(encodeAnswer(news)), { ...news, records: [Uint8Array.of(114)] })
  const none = {
    kind: 'news',
    records: [],
    upTo: undefined,
    more: false,
    vouched: ZERO_STAMP
  } as const
  assert.deepEqual(decodeAnswer(encodeAnswer(none)), none)
})
