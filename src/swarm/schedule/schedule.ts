import { DEFAULT_LIMITS, type Limits } from './limits.ts'
import type { Peer } from './peer.ts'
import type { Swarm } from './swarm.ts'
import { newUploads, type Uploads } from './upload.ts'

/** Everything that one node knows of the swarms it takes part in. */
export interface Schedule {
  readonly limits: Limits
  readonly peers: Map<string, Peer>
  readonly swarms: Map<string, Swarm>
  /** The blobs to fetch that are not whole, the first to be finished first. */
  unfinished: readonly Swarm[]
  readonly uploads: Uploads
  /** The wake asked for and not yet come. */
  wakeMs: number | undefined
  /** When deadlines are looked at next. */
  checkMs: number
}

export function newSchedule(limits: Limits = DEFAULT_LIMITS): Schedule {
  return {
    limits,
    peers: new Map(),
    swarms: new Map(),
    unfinished: [],
    uploads: newUploads(),
    wakeMs: undefined,
    checkMs: 0
  }
}
