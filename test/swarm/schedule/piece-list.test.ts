import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  MAX_PIECE_BYTES,
  MIN_PIECE_BYTES,
  pieceBytesFor,
  pieceCountFor,
  pieceRange,
  SMALL_BLOB_BYTES
} from '../../../src/swarm/piece-size.ts'
import {
  differences,
  hashPiece,
  isPiece,
  listRoot,
  makePieceList,
  tryPieceList
} from '../../../src/swarm/schedule/piece-list.ts'

const sizes = fc.oneof(
  fc.integer({ min: 0, max: 64 * 1024 ** 2 }),
  fc.maxSafeNat().map(size => size % (100 * 1024 ** 3))
)

test('pieces cover a blob without gap or overlap', () => {
  fc.assert(
    fc.property(sizes, fc.nat(), (sizeBytes, draw) => {
      const count = pieceCountFor(sizeBytes)
      const piece = draw % count
      const { start, end } = pieceRange(sizeBytes, piece)
      assert.equal(start, piece === 0 ? 0 : pieceRange(sizeBytes, piece - 1).end)
      assert.equal(pieceRange(sizeBytes, count - 1).end, sizeBytes)
      assert.ok(end - start <= pieceBytesFor(sizeBytes))
    })
  )
})

test('a larger blob never has smaller pieces, and their size is a power of two within bounds', () => {
  fc.assert(
    fc.property(sizes, sizes, (a, b) => {
      fc.pre(Math.min(a, b) > SMALL_BLOB_BYTES)
      const [small, large] = [pieceBytesFor(Math.min(a, b)), pieceBytesFor(Math.max(a, b))]
      assert.ok(small <= large && small >= MIN_PIECE_BYTES && large <= MAX_PIECE_BYTES)
      assert.ok(Number.isInteger(Math.log2(small)))
    })
  )
})

test('a blob of up to a mebibyte is one piece', () => {
  for (const sizeBytes of [0, 1, SMALL_BLOB_BYTES]) assert.equal(pieceCountFor(sizeBytes), 1)
  assert.throws(() => pieceRange(1, 1), RangeError)
})

test('a list accepts the bytes of each piece, and no others', () => {
  const blob = Buffer.alloc(700_000, 'starling')
  const pieces = cut(blob, MIN_PIECE_BYTES)
  const list = makePieceList(blob.length, MIN_PIECE_BYTES, pieces.map(hashPiece))
  for (const [piece, bytes] of pieces.entries()) {
    assert.ok(isPiece(list, piece, bytes))
    assert.ok(!isPiece(list, piece, bytes.subarray(1)))
    const wrong = Buffer.from(bytes)
    wrong[100] = (wrong[100] ?? 0) ^ 1
    assert.ok(!isPiece(list, piece, wrong))
  }
})

test('the lists of honest holders are equal, and a wrong one shows where it is wrong', () => {
  const pieces = cut(Buffer.alloc(700_000, 1), MIN_PIECE_BYTES)
  const list = makePieceList(700_000, MIN_PIECE_BYTES, pieces.map(hashPiece))
  const same = makePieceList(700_000, MIN_PIECE_BYTES, pieces.map(hashPiece))
  assert.equal(listRoot(list), listRoot(same))
  const hashes = pieces.map(hashPiece)
  hashes[1] = hashPiece(Buffer.from('else'))
  const wrong = makePieceList(700_000, MIN_PIECE_BYTES, hashes)
  assert.notEqual(listRoot(list), listRoot(wrong))
  assert.deepEqual(differences(list, wrong), [1])
})

test('a list that cannot be one is refused before anything is asked for by it', () => {
  const hashes = new Uint8Array(64)
  const good = { sizeBytes: 2 * MIN_PIECE_BYTES, pieceBytes: MIN_PIECE_BYTES, hashes }
  assert.ok(tryPieceList(good))
  for (const bad of [
    { sizeBytes: -1 },
    { sizeBytes: Number.NaN },
    { sizeBytes: Number.MAX_SAFE_INTEGER },
    { pieceBytes: 0 },
    { pieceBytes: MIN_PIECE_BYTES + 1 },
    { pieceBytes: 2 * MAX_PIECE_BYTES },
    { hashes: new Uint8Array(63) }
  ]) {
    assert.equal(tryPieceList({ ...good, ...bad }), undefined)
  }
})

function cut(blob: Buffer, pieceBytes: number): Buffer[] {
  return Array.from({ length: pieceCountFor(blob.length, pieceBytes) }, (_, piece) => {
    const { start, end } = pieceRange(blob.length, piece, pieceBytes)
    return blob.subarray(start, end)
  })
}
