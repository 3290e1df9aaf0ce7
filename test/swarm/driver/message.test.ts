import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from 'cborg'
import { digestOf } from '../../../src/digest.ts'
import { isCode } from '../../../src/errors.ts'
import { decodeMessage, encodeMessage, type Message } from '../../../src/swarm/driver/message.ts'

const digest = digestOf(Buffer.from('blob'))
const key = 'u:12D3KooWorigin:6f1c0f0e-0000-4000-8000-000000000000'
const MiB = 1024 * 1024
const hello = {
  kind: 'hello' as const,
  ...{ key, pieceBytes: MiB, sizeBytes: undefined, name: undefined },
  ...{ wants: true, reply: true, pieces: [0, 9], hashes: Buffer.alloc(64, 7) }
}

test('every message reads as it was written', () => {
  const messages: Message[] = [
    hello,
    { ...hello, key: digest, sizeBytes: 5 * MiB, name: { digest, sizeBytes: 5 * MiB } },
    { kind: 'have', key, pieces: [3, 1], hashes: Buffer.alloc(64, 1) },
    { kind: 'offer', key, pieces: [], hashes: Buffer.alloc(0) },
    { kind: 'named', key, digest, sizeBytes: 12 },
    { kind: 'complain', key, piece: 4 },
    { kind: 'abort', key },
    { kind: 'progress', key, bytes: 7 },
    { kind: 'leave', key: digest }
  ]
  for (const message of messages) {
    const { hashes: read, ...rest } = { hashes: [], ...decodeMessage(encodeMessage(message)) }
    const { hashes: written, ...expected } = { hashes: [], ...message }
    assert.deepEqual(rest, expected)
    assert.deepEqual([...read], [...written])
  }
})

test('what a later version says is passed over', () => {
  assert.equal(decodeMessage(encode([2, 'hello', 'in another form'])), undefined)
  assert.equal(decodeMessage(encode([1, 'dance', key])), undefined)
})

test('what no honest node sends is refused', () => {
  const bad: unknown[] = [
    'words',
    [1, 'have', 'no key', [], Buffer.alloc(0)],
    [1, 'have', key, [1], Buffer.alloc(31)],
    [1, 'have', key, [-1], Buffer.alloc(32)],
    [1, 'have', key, [65_536], Buffer.alloc(32)],
    [1, 'have', key, [1.5], Buffer.alloc(32)],
    [1, 'have', key, 'pieces', Buffer.alloc(0)],
    [1, 'named', key, 'sha256:short', 1],
    [1, 'named', key, digest, -1],
    [1, 'complain', key, 'first'],
    [1, 'hello', key, 1, null, null, true, true, Buffer.alloc(0), Buffer.alloc(0)],
    [1, 'hello', key, MiB + 1, null, null, true, true, Buffer.alloc(0), Buffer.alloc(0)],
    [1, 'hello', key, MiB, 2 ** 50, null, true, true, Buffer.alloc(0), Buffer.alloc(0)],
    [1, 'hello', key, MiB, null, null, 'yes', true, Buffer.alloc(0), Buffer.alloc(0)],
    [1, 'hello', key, MiB, null, null, true, true, Buffer.alloc(8_193), Buffer.alloc(0)],
    [1, 'hello', key, MiB, null, null, true, true, Buffer.of(1), Buffer.alloc(0)]
  ]
  for (const value of bad) {
    assert.throws(
      () => decodeMessage(encode(value)),
      (error: unknown) => isCode(error, 'PEER_FAILED')
    )
  }
  assert.throws(
    () => decodeMessage(Buffer.of(0x5f)),
    (error: unknown) => isCode(error, 'PEER_FAILED')
  )
  const long = Buffer.alloc(3 * MiB)
  assert.throws(
    () => decodeMessage(long),
    (error: unknown) => isCode(error, 'PEER_FAILED')
  )
})
