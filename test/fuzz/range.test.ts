import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseChunkRange, parseRange, type RangeRequest } from '../../src/registry/range.ts'

const RUNS = 3_000

/** One range of a list, as text and as the bytes of a small blob that it is about. */
const extent = fc.oneof(
  fc
    .tuple(fc.nat(40), fc.nat(40))
    .map(([first, last]) => ({ text: `${first}-${last}`, first, last })),
  fc.nat(40).map(first => ({ text: `${first}-`, first, last: Number.POSITIVE_INFINITY })),
  fc.nat(40).map(count => ({ text: `-${count}`, count }))
)
const sizeBytes = fc.nat(32)

test('the bytes given are those that a list of ranges names, each once', () => {
  fc.assert(
    fc.property(fc.array(extent, { minLength: 1, maxLength: 6 }), sizeBytes, (extents, size) => {
      const range = parseRange(`bytes=${extents.map(({ text }) => text).join(', ')}`, size)
      const wanted = new Set<number>()
      for (let at = 0; at < size; at++) {
        if (extents.some(one => names(one, at, size))) wanted.add(at)
      }
      const given = bytesOf(range, size)
      assert.equal(new Set(given).size, given.length, 'none comes twice')
      assert.deepEqual(new Set(given), wanted)
      assert.equal(range.kind === 'unsatisfiable', wanted.size === 0)
    }),
    { numRuns: RUNS }
  )
})

test('any text as a Range asks for the whole, for bytes that there are, or for nothing', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.stringMatching(/^bytes=[0-9, -]{0,40}$/),
    fc
      .array(fc.bigInt({ min: 0n, max: 10n ** 30n }), { maxLength: 4 })
      .map(numbers => `bytes=${numbers.join('-')}`),
    fc.nat(3_000).map(count => `bytes=${'0-0,'.repeat(count)}1-1`)
  )
  fc.assert(
    fc.property(text, fc.nat(), (header, size) => {
      const range = parseRange(header, size)
      if (range.kind === 'whole' || range.kind === 'unsatisfiable') return
      const extents = range.kind === 'part' ? [range] : range.extents
      let total = 0
      for (const { start, end } of extents) {
        assert.ok(Number.isSafeInteger(start) && Number.isSafeInteger(end))
        assert.ok(0 <= start && start < end && end <= size, `${start}-${end} of ${size}`)
        total += end - start
      }
      assert.ok(total <= size, 'an answer is never longer than the blob')
    }),
    { numRuns: RUNS }
  )
})

test('a Content-Range is read back as it was written', () => {
  const edge = 10 ** 15 - 1
  fc.assert(
    fc.property(fc.nat({ max: edge }), fc.nat({ max: edge }), (one, other) => {
      const [first, last] = one < other ? [one, other] : [other, one]
      const expected = { start: first, lengthBytes: last - first + 1 }
      assert.deepEqual(parseChunkRange(`${first}-${last}`), expected)
      if (first !== last) assert.equal(parseChunkRange(`${last}-${first}`), undefined)
    }),
    { numRuns: RUNS }
  )
})

test('any other text as a Content-Range is malformed', () => {
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.stringMatching(/^(bytes[ =])?[0-9+-. ]{0,20}$/),
    fc.stringMatching(/^[0-9]{14,30}-[0-9]{14,30}$/)
  )
  fc.assert(
    fc.property(text, header => {
      const range = parseChunkRange(header)
      if (range === undefined) return
      assert.match(header, /^\d+-\d+$/)
      assert.ok(Number.isSafeInteger(range.start + range.lengthBytes) && range.lengthBytes > 0)
    }),
    { numRuns: RUNS }
  )
})

type ExtentModel = { readonly text: string } & (
  | { readonly first: number; readonly last: number }
  | { readonly count: number }
)

function names(extent: ExtentModel, at: number, size: number): boolean {
  return 'count' in extent
    ? at >= size - extent.count
    : extent.first <= extent.last && extent.first <= at && at <= extent.last
}

function bytesOf(range: RangeRequest, size: number): number[] {
  switch (range.kind) {
    case 'whole':
      return Array.from({ length: size }, (_, at) => at)
    case 'unsatisfiable':
      return []
    default: {
      const extents = range.kind === 'part' ? [range] : range.extents
      return extents.flatMap(({ start, end }) =>
        Array.from({ length: end - start }, (_, at) => start + at)
      )
    }
  }
}
