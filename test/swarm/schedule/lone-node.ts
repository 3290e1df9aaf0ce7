import { Bits } from '../../../src/swarm/schedule/bits.ts'
import type { Limits } from '../../../src/swarm/schedule/limits.ts'
import type { Effect, Event, Urgency } from '../../../src/swarm/schedule/messages.ts'
import { newSchedule, type Schedule } from '../../../src/swarm/schedule/schedule.ts'
import { step } from '../../../src/swarm/schedule/step.ts'
import { start } from './flock.ts'

/** One schedule, to which the test tells what its neighbours say. */
export interface LoneNode {
  readonly schedule: Schedule
  tell(event: Event): readonly Effect[]
  at(afterMs: number, event: Event): readonly Effect[]
  fetch(blob: string, pieces: number, urgency?: Urgency, order?: number): readonly Effect[]
  hello(peer: string, blob: string, have: readonly number[], pieces: number): readonly Effect[]
  drop(blob: string): void
}

/** A schedule whose time is in the hands of the test and whose chance is always the same. */
export function newNode(limits?: Limits): LoneNode {
  const schedule = newSchedule(limits)
  let now = 0
  const tell = (event: Event) => step(schedule, event, now, () => 0)
  return {
    schedule,
    tell,
    at(afterMs, event) {
      now = Math.max(now, afterMs)
      return tell(event)
    },
    fetch: (blob, pieces, urgency = 'background', order = 0) =>
      tell({ kind: 'fetch', ...start(blob, pieces), held: new Bits(pieces), urgency, order }),
    hello(peer, blob, have, pieces) {
      const held = new Bits(pieces)
      for (const piece of have) held.add(piece)
      const met = tell({ kind: 'peer-up', peer })
      return [...met, ...tell({ kind: 'hello', peer, blob, held, reply: false })]
    },
    drop: blob => void tell({ kind: 'drop', blob })
  }
}

/** The effects of one kind. */
export function of<Kind extends Effect['kind']>(effects: readonly Effect[], kind: Kind) {
  return effects.filter((effect): effect is Extract<Effect, { kind: Kind }> => effect.kind === kind)
}
