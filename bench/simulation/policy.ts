import type { Random } from '../../src/clock.ts'
import { neighboursOf, overlayOf } from '../../src/swarm/overlay.ts'
import { pieceBytesFor } from '../../src/swarm/piece-size.ts'
import { DEFAULT_LIMITS, type Limits } from '../../src/swarm/schedule/limits.ts'
import type { Effect, Event } from '../../src/swarm/schedule/messages.ts'
import { newSchedule } from '../../src/swarm/schedule/schedule.ts'
import { step } from '../../src/swarm/schedule/step.ts'

/** What decides on one node of a simulation. */
export type Decider = (event: Event, now: number, random: Random) => readonly Effect[]

/** A way to spread a blob: how it is cut, who speaks to whom, and what each node does. */
export interface Policy {
  readonly name: string
  pieceBytes(sizeBytes: number): number
  /** The neighbours of each of the nodes that are up. */
  neighbours(ids: readonly string[]): ReadonlyMap<string, readonly string[]>
  decider(): Decider
}

/** Our own: the overlay and the scheduler of the daemon, unchanged. */
export function starling(
  options: {
    readonly rings?: number
    readonly pieceBytes?: number
    readonly limits?: Partial<Limits>
  } = {}
): Policy {
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  return {
    name: 'starling',
    pieceBytes: sizeBytes => options.pieceBytes ?? pieceBytesFor(sizeBytes),
    neighbours: ids => neighboursOnRings(ids, options.rings),
    decider: () => {
      const schedule = newSchedule(limits)
      return (event, now, random) => step(schedule, event, now, random)
    }
  }
}

export function neighboursOnRings(
  ids: readonly string[],
  rings?: number
): ReadonlyMap<string, readonly string[]> {
  const overlay = overlayOf(ids, rings)
  return new Map(ids.map(id => [id, neighboursOf(overlay, id)]))
}
