import type { World } from './machine/world.ts'

/** How one simulated cluster is set up. Times are shorter than by default, so that much happens. */
export interface Settings {
  readonly nodes: number
  readonly copies: number | 'all'
  readonly deadAfterMs: number
  readonly aloneAfterMs: number
  readonly forgetAfterMs: number
  readonly ackWaitMs: number
  readonly leaseMs: number
  readonly graceMs: number
  /** Small, so that journals roll and are compacted. */
  readonly segmentBytes: number
  /** How long a blob takes from one node to another, at most. */
  readonly copyMs: number
}

export const DEFAULT_SETTINGS: Settings = {
  nodes: 3,
  copies: 2,
  deadAfterMs: 2_000,
  aloneAfterMs: 6_000,
  forgetAfterMs: 600_000,
  ackWaitMs: 6_000,
  leaseMs: 12_000,
  graceMs: 2_000,
  segmentBytes: 8_192,
  copyMs: 50
}

/** Some cluster: mostly of three or four nodes that keep two copies. */
export function someSettings(world: World): Settings {
  return {
    ...DEFAULT_SETTINGS,
    nodes: world.pick([1, 2, 2, 3, 3, 3, 4, 4, 5]),
    copies: world.pick([1, 2, 2, 2, 3, 'all']),
    copyMs: world.pick([2, 50, 50, 1_500]),
    segmentBytes: world.pick([2_048, 8_192, 1_048_576])
  }
}
