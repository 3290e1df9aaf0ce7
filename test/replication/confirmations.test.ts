import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { temporary } from './fixtures.ts'
import { type Bird, Flock, tagged } from './flock.ts'

const untag = { kind: 'untag', repository: 'app', tag: 'v1' } as const

async function flockOf(t: TestContext, ...ids: string[]): Promise<{ flock: Flock; birds: Bird[] }> {
  const flock = new Flock(await temporary(t))
  t.after(() => flock.close())
  const birds: Bird[] = []
  for (const id of ids) birds.push(await flock.add(id))
  await flock.settle(2)
  return { flock, birds }
}

function standing({ records }: Bird) {
  return records.forgetting.standing
}

function roots(birds: readonly Bird[]): Set<string> {
  return new Set(birds.map(({ records }) => records.root().hash))
}

test('a deletion that all members know is forgotten, and nothing else is', async t => {
  const { flock, birds } = await flockOf(t, 'a', 'b', 'c')
  const [a, b] = birds as [Bird, Bird]
  await a.records.write([tagged('v1'), tagged('v2')])
  await flock.settle(1)
  const before = b.records.root().count
  await b.records.write([untag])
  await flock.settle(8)
  assert.equal(roots(birds).size, 1)
  for (const { records } of birds) {
    assert.equal(await records.tag('app', 'v1'), undefined)
    assert.ok(await records.tag('app', 'v2'))
    // The tag and its tombstone are gone; the horizon came instead.
    assert.equal(records.root().count, before - 1 + 1)
    assert.equal(await records.forgetting.wouldDropByNow(), false)
  }
})

test('while a member is away nothing is forgotten; once it is forgotten itself it is', async t => {
  const { flock, birds } = await flockOf(t, 'a', 'b', 'c')
  const [a, b, c] = birds as [Bird, Bird, Bird]
  await a.records.write([tagged('v1')])
  await flock.settle(1)
  flock.connected = (x, y) => x !== c && y !== c
  await a.records.write([untag])
  await flock.settle(8)
  assert.equal(await a.records.forgetting.wouldDropByNow(), true)
  await a.records.write([{ kind: 'forget', id: 'c' }])
  await flock.settle(8)
  assert.equal(await a.records.forgetting.wouldDropByNow(), false)
  assert.equal(roots([a, b]).size, 1)
})

test('who was forgotten returns: the deleted stays deleted, what only it has is kept', async t => {
  const { flock, birds } = await flockOf(t, 'a', 'b', 'c')
  const [a, , c] = birds as [Bird, Bird, Bird]
  await a.records.write([tagged('v1'), tagged('kept')])
  await c.records.write([tagged('old')])
  await flock.settle(6)
  flock.connected = (x, y) => x !== c && y !== c
  await a.records.write([untag, { ...untag, tag: 'old' }])
  await c.records.write([tagged('new'), { ...untag, tag: 'kept' }])
  await a.records.write([{ kind: 'forget', id: 'c' }])
  await flock.settle(8)
  assert.equal(await a.records.forgetting.wouldDropByNow(), false)
  flock.connected = () => true
  await flock.settle(4)
  assert.equal(roots(birds).size, 1)
  assert.equal(standing(c).isInDoubt, false)
  for (const { records, ...bird } of birds) {
    assert.equal(await records.tag('app', 'v1'), undefined, `v1 on ${bird.id}`)
    assert.equal(await records.tag('app', 'old'), undefined, `old on ${bird.id}`)
    assert.equal(await records.tag('app', 'kept'), undefined, `kept on ${bird.id}`)
    assert.ok(await records.tag('app', 'new'), `new on ${bird.id}`)
    assert.equal((await records.members()).length, 3)
  }
})

test('two halves that forgot each other come together: no half loses, nothing deleted returns', async t => {
  const { flock, birds } = await flockOf(t, 'a', 'b', 'c', 'd')
  const [a, b, c, d] = birds as [Bird, Bird, Bird, Bird]
  await a.records.write([tagged('v1'), tagged('v2'), tagged('v3')])
  await flock.settle(6)
  const left = new Set([a, b])
  flock.connected = (x, y) => left.has(x) === left.has(y)
  await a.records.write([untag, tagged('left')])
  await c.records.write([{ ...untag, tag: 'v2' }, tagged('right')])
  for (const id of ['c', 'd']) await a.records.write([{ kind: 'forget', id }])
  for (const id of ['a', 'b']) await d.records.write([{ kind: 'forget', id }])
  await flock.settle(8)
  assert.equal(await b.records.forgetting.wouldDropByNow(), false)
  assert.equal(await c.records.forgetting.wouldDropByNow(), false)
  flock.connected = () => true
  await flock.settle(6)
  assert.equal(roots(birds).size, 1)
  for (const { records, ...bird } of birds) {
    const tags = await records.tags('app', { limit: 10 })
    assert.deepEqual(tags, ['left', 'right', 'v3'], `on ${bird.id}`)
    assert.equal(records.forgetting.standing.isInDoubt, false, `on ${bird.id}`)
    assert.equal((await records.members()).length, 4)
  }
})

test('an empty node that was alone for a while joins, and no old record is taken for deleted', async t => {
  const { flock, birds } = await flockOf(t, 'b', 'c')
  const [b] = birds as [Bird]
  await b.records.write([tagged('v1')])
  await flock.settle(4)
  flock.connected = (x, y) => x.id !== 'a' && y.id !== 'a'
  const a = await flock.add('a', b.clock.ms + 3_600_000)
  await a.records.write([tagged('gone')])
  await a.records.write([{ ...untag, tag: 'gone' }])
  await flock.settle(8)
  assert.ok(standing(a).horizon > standing(b).testimony.confirmed)
  flock.connected = () => true
  await flock.settle(4)
  assert.equal(roots(flock.birds).size, 1)
  for (const { records } of flock.birds) assert.ok(await records.tag('app', 'v1'))
})

test('a clock in 1970 holds the horizon back, one in 2040 does not move it', async t => {
  const { flock, birds } = await flockOf(t, 'a', 'b')
  const [a, b] = birds as [Bird, Bird]
  b.clock.ms = Date.UTC(2040)
  await a.records.write([tagged('v1')])
  await flock.settle(2)
  await a.records.write([untag])
  await flock.settle(8)
  assert.ok(standing(a).horizon > 0)
  assert.ok(standing(a).horizon <= standing(a).testimony.promised)
  const slow = await flock.add('c', 0)
  await flock.settle(4)
  const { horizon } = standing(a)
  await slow.records.write([tagged('slow')])
  await flock.settle(8)
  assert.equal(roots(flock.birds).size, 1)
  assert.ok(await a.records.tag('app', 'slow'))
  assert.ok(standing(a).horizon >= horizon)
})
