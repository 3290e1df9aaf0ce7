import type { Clock, Random } from '../../../src/clock.ts'
import type { Log } from '../../../src/log.ts'
import type { Vitals } from '../../../src/mesh/beat.ts'
import type { Host, World } from '../machine/world.ts'
import type { Network } from './network.ts'

export interface SimMeshOptions {
  readonly world: World
  readonly host: Host
  readonly network: Network
  readonly id: string
  readonly boot: string
  readonly join: readonly string[]
  /** What the name that is joined stands for; throws while nobody answers. */
  readonly resolve: () => Promise<readonly string[]>
  readonly deadAfterMs: number
  readonly forgetAfterMs: number
  readonly vitals: () => Vitals
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}
