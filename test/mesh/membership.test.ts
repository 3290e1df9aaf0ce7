import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Beat } from '../../src/mesh/beat.ts'
import type { MemberInfo } from '../../src/mesh/member.ts'
import {
  createMembership,
  type Membership,
  type MembershipEffect,
  type MembershipEvent,
  rivalOf,
  step,
  tickMs
} from '../../src/mesh/membership.ts'
import { VITALS } from './helpers/flock.ts'

const LIMITS = { deadAfterMs: 6_000, forgetAfterMs: 100_000 }
const SELF = { id: 'me', name: 'my-name', boot: 'b-me', bootedAt: 1_000, sequence: 0 }

/** A membership with a clock of its own. */
class World {
  state: Membership = createMembership(SELF, LIMITS)
  nowMs = 50_000
  effects: MembershipEffect[] = []

  apply(event: MembershipEvent): readonly MembershipEffect[] {
    const { state, effects } = step(this.state, event, this.nowMs)
    this.state = state
    this.effects.push(...effects)
    return effects
  }

  learn(...ids: string[]): void {
    this.apply({ kind: 'learn', members: ids.map(id => member(id)) })
  }

  hello(id: string, boot = `b-${id}`, bootedAt = 500, name = `name-${id}`) {
    const life = { boot, bootedAt, sequence: 0 }
    return this.apply({ kind: 'hello', info: { ...member(id), name }, life })
  }

  beat(path: 'direct' | 'relayed', id: string, fields: Partial<Beat> = {}) {
    return this.apply({ kind: 'beat', path, beat: beat(id, fields) })
  }

  /** Lets time pass with the ticks of a running node, and these members heard. */
  run(ms: number, ...heard: string[]): void {
    for (let leftMs = ms; leftMs > 0; leftMs -= tickMs(LIMITS)) {
      this.nowMs += Math.min(leftMs, tickMs(LIMITS))
      this.apply({ kind: 'tick' })
      for (const id of heard) this.beat('direct', id, { sequence: this.nowMs })
    }
  }

  kindOf(id: string) {
    return this.state.members.get(id)?.standing.kind
  }
}

function member(id: string): MemberInfo {
  return {
    id,
    name: `name-${id}`,
    mesh: ['10.0.0.1:5052'],
    transfer: '10.0.0.1:5053',
    protocol: [1, 1],
    hold: 'all'
  }
}

function beat(id: string, fields: Partial<Beat> = {}): Beat {
  return { ...VITALS, id, boot: `b-${id}`, bootedAt: 500, sequence: 1, ...fields }
}

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

describe('gone', () => {
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
