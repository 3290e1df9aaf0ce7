import type { Vitals } from '../mesh/beat.ts'
import type { Hold } from '../mesh/member.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import type { DiskWatch } from './disk-space.ts'
import type { Inventory } from './inventory.ts'
import type { Replicator } from './replicator.ts'

/** A heartbeat names so many missing blobs, and counts the rest. */
const MAX_NAMED_MISSING = 1_000

export interface VitalsSources {
  readonly ready: boolean
  readonly hold: Hold
  readonly blobs: Blobs
  readonly records: Records
  readonly inventory: Inventory
  readonly replicator: Replicator
  readonly disk: DiskWatch
}

/** What a node says of itself in each heartbeat. */
export function vitalsOf(sources: VitalsSources): Vitals {
  const { ready, hold, blobs, records, inventory, replicator, disk } = sources
  const missing = inventory.missing()
  const { count, bytes } = blobs.totals()
  const { state } = disk.space()
  const { promised, confirmed } = records.forgetting.standing.testimony
  return {
    ...{ ready, hold, promised, confirmed },
    root: records.root().hash,
    position: records.sequence(),
    disk: state === 'ok' && replicator.lacksRoom ? 'full' : state,
    freeBytes: disk.freeBytes(),
    caughtUp: inventory.caughtUp().root,
    missing: missing.keys().take(MAX_NAMED_MISSING).toArray(),
    missingCount: missing.size,
    bytesHeld: bytes,
    blobsHeld: count
  }
}
