import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode } from 'cborg'
import { isCode } from '../../src/errors.ts'
import { type Beat, decodeBeat, encodeBeat, MAX_BEAT_BYTES } from '../../src/mesh/beat.ts'
import { decodeHello, encodeHello, type Hello } from '../../src/mesh/hello.ts'
import { decodePulse, encodePulse } from '../../src/mesh/pulse.ts'
import { VITALS } from './helpers/flock.ts'

const BEAT: Beat = {
  ...VITALS,
  id: '12D3KooW',
  boot: 'boot',
  bootedAt: 1_700_000_000_000,
  sequence: 7,
  missing: [`sha256:${'ab'.repeat(32)}`, `sha512:${'cd'.repeat(64)}`],
  missingCount: 2
}

const HELLO: Hello = {
  protocol: [1, 1],
  name: 'node-1',
  boot: 'boot',
  bootedAt: 1,
  mesh: ['10.0.0.1:5052', '[fd00::1]:5052'],
  transfer: '10.0.0.1:5053',
  fingerprint: '0f'.repeat(32),
  hold: 'none',
  root: 'root',
  observedHost: '10.0.0.2'
}

const failed = (error: unknown) => isCode(error, 'PEER_FAILED')

test('a heartbeat survives the wire', () => {
  assert.deepEqual(decodeBeat(encodeBeat(BEAT)), BEAT)
})

test('a heartbeat of a node that misses everything stays within its bound', () => {
  for (const digest of [`sha256:${'ab'.repeat(32)}`, `sha512:${'cd'.repeat(64)}`]) {
    const missing = Array.from({ length: 5_000 }, () => digest)
    const bytes = encodeBeat({ ...BEAT, missing, missingCount: 5_000 })
    assert.ok(bytes.length < MAX_BEAT_BYTES)
    const decoded = decodeBeat(bytes)
    assert.equal(decoded.missingCount, 5_000)
    assert.ok(decoded.missing.length > 500 && decoded.missing.length <= 1_000)
  }
})

test('a pulse carries the rival when there is one', () => {
  const rival = { boot: 'other', bootedAt: 5, sequence: 9 }
  assert.deepEqual(decodePulse(encodePulse({ beat: BEAT, rival })), { beat: BEAT, rival })
  const none = { beat: BEAT, rival: undefined }
  assert.deepEqual(decodePulse(encodePulse(none)), none)
})

test('a hello survives the wire, and a later version may add fields', () => {
  assert.deepEqual(decodeHello(encodeHello(HELLO)), HELLO)
  assert.deepEqual(decodeHello(encode({ ...HELLO, protocol: [1, 1], news: true })), HELLO)
})

test('a peer with whom we share no protocol version is refused, whatever else it says', () => {
  const later = encode({ protocol: [2, 3], anything: 'else' })
  assert.throws(
    () => decodeHello(later),
    error => isCode(error, 'PEER_REFUSED')
  )
})

test('what is not sound is refused', () => {
  const wrongHellos = [
    { ...HELLO, name: '' },
    { ...HELLO, name: 'x'.repeat(300) },
    { ...HELLO, transfer: 'nowhere' },
    { ...HELLO, fingerprint: 'zz' },
    { ...HELLO, mesh: Array.from({ length: 9 }, () => '10.0.0.1:1') },
    { ...HELLO, bootedAt: -1 }
  ]
  for (const hello of wrongHellos) assert.throws(() => decodeHello(encode(hello)), failed)
  const wrongBeats = [
    { ...BEAT, sequence: 1.5 },
    { ...BEAT, disk: 'tired' },
    { ...BEAT, ready: 1 },
    []
  ]
  for (const beat of wrongBeats) assert.throws(() => decodeBeat(encode(beat)), failed)
  for (const bytes of [[], [0xff], [0x9b, 0xff, 0xff, 0xff, 0xff]]) {
    assert.throws(() => decodeBeat(Uint8Array.from(bytes)), failed)
    assert.throws(() => decodeHello(Uint8Array.from(bytes)), failed)
  }
})
