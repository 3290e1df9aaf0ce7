import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { rivalOf } from '../../src/mesh/membership.ts'
import { member, SELF, World } from './helpers/world.ts'

describe('live and away', () => {
  test('a member known only from its record is away until it is heard', () => {
    const world = new World()
    world.learn('x')
    assert.equal(world.kindOf('x'), 'away')
    assert.deepEqual(world.hello('x'), [{ kind: 'live', id: 'x' }])
    assert.equal(world.kindOf('x'), 'live')
  })

  test('our own record makes no member of us', () => {
    const world = new World()
    world.learn('me')
    assert.equal(world.state.members.size, 0)
  })

  test('a relayed heartbeat keeps a member live that is not connected', () => {
    const world = new World()
    world.learn('x')
    assert.deepEqual(
      world.beat('relayed', 'x').map(effect => effect.kind),
      ['live', 'beat']
    )
    for (let sequence = 2; sequence < 20; sequence += 1) {
      world.run(2_000)
      world.beat('relayed', 'x', { sequence })
    }
    assert.equal(world.kindOf('x'), 'live')
  })

  test('a heartbeat relayed twice is heard once', () => {
    const world = new World()
    world.learn('x')
    world.beat('relayed', 'x', { sequence: 5 })
    world.run(5_000)
    assert.deepEqual(world.beat('relayed', 'x', { sequence: 5 }), [])
    assert.deepEqual(world.beat('relayed', 'x', { sequence: 4 }), [])
    world.run(2_000)
    assert.equal(world.kindOf('x'), 'away')
  })

  test('a member is away after dead-after of silence, not before, and live again when heard', () => {
    const world = new World()
    world.hello('x')
    world.run(6_000)
    assert.equal(world.kindOf('x'), 'live')
    world.run(1_000)
    assert.equal(world.kindOf('x'), 'away')
    assert.deepEqual(world.effects.at(-1), { kind: 'away', id: 'x' })
    assert.equal(world.beat('direct', 'x')[0]?.kind, 'live')
  })

  test('a heartbeat of a stranger makes no member', () => {
    const world = new World()
    assert.deepEqual(world.beat('relayed', 'x'), [])
    assert.equal(world.state.members.size, 0)
  })

  test('a node that was stopped for an hour has not heard an hour of silence', () => {
    const world = new World()
    world.hello('x')
    world.run(1_000)
    world.nowMs += 3_600_000
    world.apply({ kind: 'tick' })
    assert.equal(world.kindOf('x'), 'live')
  })

  test('a record learnt later does not replace what a live member says of itself', () => {
    const world = new World()
    world.hello('x', 'b', 1, 'new-name')
    world.learn('x')
    assert.equal(world.state.members.get('x')?.info.name, 'new-name')
    const moved = { ...member('x'), mesh: ['10.0.0.9:5052'] }
    world.apply({ kind: 'learn', members: [moved] })
    assert.deepEqual(world.state.members.get('x')?.info.mesh, ['10.0.0.1:5052', '10.0.0.9:5052'])
  })
})

describe('restarts', () => {
  test('what is still relayed of a past boot does not undo a restart', () => {
    const world = new World()
    world.hello('x', 'old', 500)
    world.beat('direct', 'x', { boot: 'old', sequence: 900 })
    world.hello('x', 'new', 600)
    assert.deepEqual(world.beat('relayed', 'x', { boot: 'old', sequence: 901 }), [])
    assert.equal(world.state.members.get('x')?.life?.boot, 'new')
    assert.equal(world.beat('relayed', 'x', { boot: 'new', bootedAt: 600, sequence: 1 }).length, 1)
  })

  test('a restart with a clock that went back is believed when it comes directly', () => {
    const world = new World()
    world.hello('x', 'old', 500)
    world.hello('x', 'new', 100)
    assert.deepEqual(world.beat('relayed', 'x', { boot: 'old', sequence: 99 }), [])
    assert.equal(world.beat('relayed', 'x', { boot: 'new', bootedAt: 100 }).length, 1)
  })

  test('a second hello of the same boot does not set its sequence back', () => {
    const world = new World()
    world.hello('x')
    world.beat('direct', 'x', { sequence: 9 })
    world.hello('x')
    assert.deepEqual(world.beat('relayed', 'x', { sequence: 9 }), [])
  })
})

describe('two processes under the id of a member', () => {
  test('each is told of the other, whichever way its heartbeats come', () => {
    const world = new World()
    world.hello('x', 'later', 600)
    assert.equal(rivalOf(world.state, 'x', 'later'), undefined)
    world.beat('relayed', 'x', { boot: 'earlier', bootedAt: 500, sequence: 7 })
    assert.deepEqual(rivalOf(world.state, 'x', 'later'), {
      boot: 'earlier',
      bootedAt: 500,
      sequence: 7
    })
    assert.equal(rivalOf(world.state, 'x', 'earlier')?.boot, 'later')
    world.beat('direct', 'x', { boot: 'earlier', bootedAt: 500, sequence: 8 })
    assert.deepEqual(rivalOf(world.state, 'x', 'later'), {
      boot: 'earlier',
      bootedAt: 500,
      sequence: 8
    })
    assert.equal(rivalOf(world.state, 'x', 'earlier')?.boot, 'later')
  })
})

describe('another process under our id', () => {
  const twin = (bootedAt: number) => (world: World, steps: number, gapMs: number) => {
    for (let sequence = 1; sequence <= steps; sequence += 1) {
      world.run(gapMs)
      world.apply({ kind: 'twin', life: { boot: 'twin', bootedAt, sequence } })
    }
  }
  const duplicates = (world: World) => world.effects.filter(effect => effect.kind === 'duplicate')

  test('the one that started later stops', () => {
    const world = new World()
    twin(SELF.bootedAt - 1)(world, 6, 2_000)
    assert.deepEqual(duplicates(world), [{ kind: 'duplicate', boot: 'twin' }])
  })

  test('the one that started earlier goes on', () => {
    const world = new World()
    twin(SELF.bootedAt + 1)(world, 20, 2_000)
    assert.deepEqual(duplicates(world), [])
  })

  test('started in the same millisecond, exactly one of the two stops', () => {
    const world = new World()
    twin(SELF.bootedAt)(world, 6, 2_000)
    const stops = duplicates(world).length > 0
    assert.equal(stops, SELF.boot > 'twin')
  })

  test('stragglers of our own previous life do not stop us', () => {
    const burst = new World()
    twin(SELF.bootedAt - 60_000)(burst, 50, 10)
    assert.deepEqual(duplicates(burst), [])
    const repeated = new World()
    for (let round = 0; round < 20; round += 1) {
      repeated.run(2_000)
      repeated.apply({ kind: 'twin', life: { boot: 'past', bootedAt: 1, sequence: 7 } })
    }
    assert.deepEqual(duplicates(repeated), [])
    const rare = new World()
    twin(1)(rare, 6, 7_000)
    assert.deepEqual(duplicates(rare), [])
  })
})
