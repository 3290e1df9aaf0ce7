import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { check } from './checker.ts'
import type { Action, Found, Isolation, Operation, Wipe, WriteOutcome } from './operation.ts'

const ONE = digestOf(Buffer.from('one'))
const TWO = digestOf(Buffer.from('two'))

test('a history in which everybody reads what was written last breaks no promise', () => {
  const operations = [
    pulls(0, 1, { kind: 'absent' }),
    pushes(2, 4, ONE),
    pulls(5, 6, image(ONE)),
    pushes(7, 9, TWO),
    pulls(10, 11, image(TWO)),
    deletes(12, 13),
    pulls(14, 15, { kind: 'absent' })
  ]
  assert.deepEqual(kinds(operations), [])
})

test('a reader between the start and the end of a write may see either value', () => {
  const operations = [
    pushes(0, 1, ONE),
    pushes(2, 6, TWO),
    pulls(3, 4, image(ONE)),
    pulls(3, 5, image(TWO))
  ]
  assert.deepEqual(kinds(operations), [])
})

test('the value before the last promised write is stale', () => {
  const operations = [pushes(0, 1, ONE), pushes(2, 3, TWO), pulls(4, 5, image(ONE))]
  assert.deepEqual(kinds(operations), ['stale'])
})

test('nothing where an image was promised is a loss', () => {
  assert.deepEqual(kinds([pushes(0, 1, ONE), pulls(2, 3, { kind: 'absent' })]), ['lost'])
})

test('what was deleted does not come back', () => {
  const operations = [pushes(0, 1, ONE), deletes(2, 3), pulls(4, 5, image(ONE))]
  assert.deepEqual(kinds(operations), ['resurrected'])
})

test('a write answered with a warning may be lost, one whose answer is unknown may come late', () => {
  const warned = [pushes(0, 1, ONE), pushes(2, 3, TWO, 'warned'), pulls(4, 5, image(ONE))]
  const unknown = [
    pushes(0, 1, ONE, 'unknown'),
    pushes(2, 3, TWO),
    pulls(4, 5, image(TWO)),
    pulls(6, 7, image(ONE))
  ]
  assert.deepEqual(kinds(warned), [])
  assert.deepEqual(kinds(unknown), [])
})

test('what was not promised may be lost with the disk of its node, and the tag with it', () => {
  const wipes = [{ node: 'n1', atMs: 3 }]
  const absent: Found = { kind: 'absent' }
  const half: Found = { kind: 'half', digest: TWO, detail: '' }
  for (const outcome of ['unknown', 'warned'] as const) {
    const writes = [pushes(0, 1, ONE), pushes(2, 4, TWO, outcome)]
    assert.deepEqual(kinds([...writes, pulls(5, 6, absent)], [], wipes), [])
    assert.deepEqual(kinds([...writes, pulls(5, 6, half)], [], wipes), [])
    assert.deepEqual(kinds([...writes, pulls(5, 6, absent)]), ['lost'])
  }
  const promised = [pushes(0, 1, ONE), pulls(5, 6, absent)]
  assert.deepEqual(kinds(promised, [], wipes), ['lost'])
})

test('an image that nobody pushed under the tag is invented', () => {
  assert.deepEqual(kinds([pulls(0, 1, image(ONE))]), ['invented'])
})

test('half an image counts unless it may have been replaced meanwhile; wrong bytes always do', () => {
  const half: Found = { kind: 'half', digest: ONE, detail: '' }
  const replaced = [pushes(0, 1, ONE), pulls(2, 5, half), pushes(3, 6, TWO)]
  assert.deepEqual(kinds([pushes(0, 1, ONE), pulls(2, 5, half)]), ['half image'])
  assert.deepEqual(kinds(replaced), [])
  assert.deepEqual(kinds([pulls(0, 1, { ...half, kind: 'wrong' })]), ['wrong bytes'])
})

test('a node that was cut off may answer from what it had, until it has heard peers for 5 s', () => {
  const isolations: Isolation[] = [{ node: 'n1', startMs: 1_500, endMs: 4_000 }]
  const writes = [pushes(0, 1, ONE), pushes(2_000, 3_000, TWO)]
  assert.deepEqual(kinds([...writes, pulls(3_500, 3_600, image(ONE))], isolations), [])
  assert.deepEqual(kinds([...writes, pulls(8_999, 9_100, image(ONE))], isolations), [])
  assert.deepEqual(kinds([...writes, pulls(9_001, 9_100, image(ONE))], isolations), ['stale'])
  const elsewhere = isolations.map(each => ({ ...each, node: 'n2' }))
  assert.deepEqual(kinds([...writes, pulls(3_500, 3_600, image(ONE))], elsewhere), ['stale'])
})

function kinds(
  operations: readonly Operation[],
  isolations: readonly Isolation[] = [],
  wipes: readonly Wipe[] = []
) {
  return check({ operations, isolations, wipes }).map(({ kind }) => kind)
}

function pushes(
  startMs: number,
  endMs: number,
  digest: typeof ONE,
  outcome: WriteOutcome = 'done'
): Operation {
  return operation(startMs, endMs, { kind: 'push', digest, outcome })
}

function deletes(startMs: number, endMs: number): Operation {
  return operation(startMs, endMs, { kind: 'delete', outcome: 'done' })
}

function pulls(startMs: number, endMs: number, found: Found): Operation {
  return operation(startMs, endMs, { kind: 'pull', found })
}

function image(digest: typeof ONE): Found {
  return { kind: 'image', digest }
}

function operation(startMs: number, endMs: number, action: Action): Operation {
  return { client: 0, node: 'n1', tag: 'a', startMs, endMs, action }
}
