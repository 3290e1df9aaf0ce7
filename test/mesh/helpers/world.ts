import type { Beat } from '../../../src/mesh/beat.ts'
import type { MemberInfo } from '../../../src/mesh/member.ts'
import {
  createMembership,
  type Membership,
  type MembershipEffect,
  type MembershipEvent,
  step,
  tickMs
} from '../../../src/mesh/membership.ts'
import { VITALS } from './flock.ts'

export const LIMITS = { deadAfterMs: 6_000, forgetAfterMs: 100_000 }
export const SELF = { id: 'me', name: 'my-name', boot: 'b-me', bootedAt: 1_000, sequence: 0 }

/** A membership with a clock of its own. */
export class World {
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

/** As its record says it is. */
export function member(id: string): MemberInfo {
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
