import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encode, rfc8949EncodeOptions } from 'cborg'
import fc from 'fast-check'
import {
  decodeRecord,
  encodeRecord,
  MAX_KEY_BYTES,
  MAX_RECORD_BYTES,
  recordId,
  tryDecodeRecord
} from '../../src/records/record.ts'
import { isStamp, MAX_STAMP, type Stamp } from '../../src/records/stamp.ts'

const stamp = fc.integer({ min: 1_000, max: MAX_STAMP }) as fc.Arbitrary<Stamp>
const seenStamp = fc.nat(999) as fc.Arbitrary<Stamp>
const origin = fc.stringMatching(/^[!-~]{1,64}$/)
const fields = fc.record({
  kind: fc.stringMatching(/^[a-z][a-z0-9.-]{0,31}$/),
  key: fc.string({ minLength: 1, maxLength: 100, unit: 'binary' }),
  origin,
  stamp,
  seen: fc.array(fc.tuple(origin, seenStamp), { maxLength: 5 }).map(seen => new Map(seen)),
  body: fc
    .dictionary(
      fc.string({ maxLength: 8 }),
      fc.oneof(fc.string({ unit: 'binary' }), fc.integer(), fc.boolean(), fc.constant(null)),
      { maxKeys: 6, noNullPrototype: true }
    )
    .map(body => new Map(Object.entries(body)))
})

function envelope(overrides: Record<number, unknown> = {}): Uint8Array {
  const sound = [1, 'tag', 'a b', 'node', 100, new Map(), new Map()]
  return encode(Object.assign(sound, overrides), rfc8949EncodeOptions)
}

function refused(bytes: Uint8Array): void {
  assert.throws(() => decodeRecord(bytes), { code: 'RECORD_INVALID' })
}

test('what is encoded decodes to the same fields, the same bytes and the same id', () => {
  fc.assert(
    fc.property(fields, fields => {
      const record = encodeRecord(fields)
      const again = decodeRecord(record.bytes)
      assert.deepEqual(again, record)
      assert.deepEqual({ kind: again.kind, key: again.key }, { kind: fields.kind, key: fields.key })
      assert.deepEqual(again.body, fields.body)
      assert.equal(again.id, recordId(record.bytes))
    })
  )
})

test('the encoding and the id never change', () => {
  const record = encodeRecord({
    kind: 'tag',
    key: 'library/nginx latest',
    origin: 'node-a',
    stamp: 3_686_400_000_000_001 as Stamp,
    seen: new Map([['node-b', 3_686_400_000_000_000 as Stamp]]),
    body: new Map([['tag', 'latest']])
  })
  assert.equal(
    Buffer.from(record.bytes).toString('hex'),
    '870163746167746c6962726172792f6e67696e78206c6174657374666e6f64652d611b000d18c2e2800001' +
      'a1666e6f64652d621b000d18c2e2800000a163746167666c6174657374'
  )
})

test('bytes that decode are canonical: no second encoding of the same record is accepted', () => {
  fc.assert(
    fc.property(fields, fc.nat(), fc.integer({ min: 1, max: 255 }), (fields, at, flip) => {
      const { bytes } = encodeRecord(fields)
      const changed = Uint8Array.from(bytes)
      const index = at % changed.length
      changed[index] = (changed[index] ?? 0) ^ flip
      const record = tryDecodeRecord(changed)
      if (record?.version !== 1) return
      const again = encodeRecord({ ...record, body: record.body ?? new Map() })
      assert.equal(Buffer.compare(again.bytes, changed), 0)
    })
  )
  const tagInTwoBytes = Buffer.from(envelope())
  refused(Buffer.concat([Buffer.from([0x87, 0x18, 0x01]), tagInTwoBytes.subarray(2)]))
  refused(Buffer.concat([Buffer.from([0x98, 0x07]), tagInTwoBytes.subarray(1)]))
  refused(Buffer.concat([tagInTwoBytes, Buffer.from([0])]))
})

test('random bytes are refused in our words, and never anything else', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), bytes => {
      const record = tryDecodeRecord(bytes)
      assert.ok(record === undefined || isStamp(record.stamp))
      if (record === undefined) refused(bytes)
    })
  )
})

test('fields out of bounds are refused', () => {
  const bad: [number, unknown][] = [
    [0, 0],
    [0, -1],
    [0, 256],
    [0, '1'],
    [1, ''],
    [1, 'Tag'],
    [1, 'a\0b'],
    [1, 'k'.repeat(33)],
    [2, ''],
    [2, 'k'.repeat(MAX_KEY_BYTES + 1)],
    [2, 7],
    [3, ''],
    [3, 'with space'],
    [3, 'o'.repeat(65)],
    [4, -1],
    [4, 1.5],
    [4, 2n ** 53n],
    [4, 2n ** 64n - 1n],
    [5, []],
    [5, new Map([['node', 100]])],
    [5, new Map([['node', -1]])],
    [5, new Map([['bad origin', 1]])],
    [6, null],
    [6, []],
    [6, 'text'],
    [7, 'one more']
  ]
  for (const [index, value] of bad) refused(envelope({ [index]: value }))
  assert.ok(decodeRecord(envelope()))
})

test('CBOR that promises or nests without end is refused at once', () => {
  refused(Buffer.alloc(0))
  refused(Buffer.alloc(MAX_RECORD_BYTES, 0x81))
  refused(Buffer.alloc(MAX_RECORD_BYTES + 1, 0x87))
  refused(Buffer.from('9bffffffffffffffff', 'hex'))
  refused(Buffer.from('8701bbffffffffffffffff', 'hex'))
  refused(Buffer.from('87017bffffffffffffffff', 'hex'))
  refused(Buffer.from('9f01ff', 'hex'))
  let deep: unknown = 1
  for (let depth = 0; depth < 1_000; depth++) deep = [deep]
  refused(envelope({ 6: new Map([['deep', deep]]) }))
  refused(envelope({ 6: new Map([['nan', Number.NaN]]) }))
  refused(envelope({ 6: new Map([[1, 'a key that is no text']]) }))
})

test('a context as long as the record may be is read, and one longer is refused', () => {
  const origins = (count: number) =>
    new Map(Array.from({ length: count }, (_, i) => [`node-${String(i).padStart(4, '0')}`, 1]))
  assert.equal(decodeRecord(envelope({ 5: origins(350) })).seen.size, 350)
  refused(envelope({ 5: origins(450) }))
})

test('a record of a later version keeps its envelope, whatever follows it', () => {
  const later = envelope({ 0: 2, 6: new Map([['deleted', true]]), 7: 'a field of version 2' })
  const record = decodeRecord(later)
  assert.deepEqual([record.version, record.kind, record.deleted], [2, 'tag', true])
  assert.equal(record.id, recordId(later))
  const opaque = decodeRecord(
    Buffer.concat([envelope({ 0: 2 }).subarray(0, -1), Buffer.from('d82a00', 'hex')])
  )
  assert.deepEqual([opaque.body, opaque.deleted], [undefined, false])
})
