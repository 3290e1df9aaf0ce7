import assert from 'node:assert/strict'
import { test } from 'node:test'
import { LIMITS, member, SELF, World } from './helpers/world.ts'

test('forgetting makes a member gone, once', () => {
  const world = new World()
  world.learn('x')
  const gone = [{ kind: 'gone', id: 'x', reason: 'forgotten' }]
  assert.deepEqual(world.apply({ kind: 'forget', id: 'x' }), gone)
  assert.deepEqual(world.apply({ kind: 'forget', id: 'x' }), [])
  assert.equal(world.kindOf('x'), 'gone')
})

test('a relayed heartbeat brings no forgotten member back; its coming in person does', () => {
  const world = new World()
  world.hello('x')
  world.apply({ kind: 'forget', id: 'x' })
  assert.deepEqual(world.beat('relayed', 'x', { sequence: 99 }), [])
  assert.equal(world.kindOf('x'), 'gone')
  assert.deepEqual(world.hello('x'), [{ kind: 'live', id: 'x' }])
})

test('a member record written anew makes a gone member known again', () => {
  const world = new World()
  world.learn('x')
  world.apply({ kind: 'forget', id: 'x' })
  world.learn('x')
  assert.equal(world.kindOf('x'), 'away')
})

test('a new id that takes the name of an away member replaces it', () => {
  const world = new World()
  world.hello('x')
  world.run(7_000)
  world.hello('y', 'b-y', 500, 'name-x')
  world.run(500, 'y')
  assert.equal(world.kindOf('x'), 'gone')
  assert.deepEqual(world.effects.at(-2), { kind: 'gone', id: 'x', reason: 'replaced' })
})

test('two live members of one name both stay', () => {
  const world = new World()
  world.hello('x')
  world.hello('y', 'b-y', 500, 'name-x')
  world.run(20_000, 'x', 'y')
  assert.equal(world.kindOf('x'), 'live')
  assert.equal(world.kindOf('y'), 'live')
})

test('a member just learnt of is given dead-after to be heard before its name is taken', () => {
  const world = new World()
  world.hello('y', 'b-y', 500, 'name-x')
  world.learn('x')
  world.run(5_000, 'y')
  assert.equal(world.kindOf('x'), 'away')
  world.run(2_000, 'y')
  assert.equal(world.kindOf('x'), 'gone')
})

test('our own name replaces our former id, but only while we hear most others', () => {
  const world = new World()
  const former = { ...member('former'), name: SELF.name }
  world.apply({ kind: 'learn', members: [former, member('x'), member('y')] })
  world.run(20_000)
  assert.equal(world.kindOf('former'), 'away')
  world.hello('x')
  world.hello('y')
  world.run(500, 'x', 'y')
  assert.equal(world.kindOf('former'), 'gone')
})

test('absence counts only while most members are heard', () => {
  const world = new World()
  for (const id of ['x', 'y', 'z']) world.hello(id)
  world.run(7_000)
  world.run(300_000)
  assert.deepEqual(
    ['x', 'y', 'z'].map(id => world.kindOf(id)),
    ['away', 'away', 'away']
  )
  world.hello('x')
  world.hello('y')
  world.run(LIMITS.forgetAfterMs, 'x', 'y')
  assert.equal(world.kindOf('z'), 'away')
  world.run(1_000, 'x', 'y')
  assert.equal(world.kindOf('z'), 'gone')
  assert.deepEqual(
    world.effects.findLast(effect => effect.kind === 'gone'),
    { kind: 'gone', id: 'z', reason: 'absent' }
  )
})

test('of two, neither can count the other out: half is not most', () => {
  const world = new World()
  world.hello('x')
  world.run(2 * LIMITS.forgetAfterMs)
  assert.equal(world.kindOf('x'), 'away')
})

test('time during which this node was stopped is no absence', () => {
  const world = new World()
  for (const id of ['x', 'y', 'z']) world.hello(id)
  world.run(7_000, 'x', 'y')
  assert.equal(world.kindOf('z'), 'away')
  world.nowMs += 10 * LIMITS.forgetAfterMs
  world.run(1_000, 'x', 'y')
  assert.equal(world.kindOf('z'), 'away')
})
