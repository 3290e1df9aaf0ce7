import type { Clock, Random } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Hold } from '../mesh/member.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Metrics } from '../metrics.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Uploads } from '../store/uploads.ts'
import type { BatchFetcher, Fetcher } from '../swarm/fetcher.ts'
import type { PieceFetcher } from '../swarm/piece-fetcher.ts'
import type { Relay } from '../swarm/relay.ts'
import type { Sparse } from './admission.ts'
import type { DiskWatch } from './disk-space.ts'

/** What replication joins, and how this node is to take part. */
export interface ReplicationOptions {
  readonly name: string
  readonly version: string
  readonly deadAfterMs: number
  readonly aloneAfterMs: number
  readonly sparse: Sparse
  /** Whether this node is to hold everything, or stores no blobs. */
  readonly hold: Hold
  readonly copies: number | 'all'
  readonly ackWaitMs: number
  readonly ackShort: 'accept' | 'reject'
  readonly leaseMs: number
  readonly gcGraceMs: number
  readonly blobs: Blobs
  readonly uploads: Uploads
  readonly records: Records
  readonly mesh: Mesh
  readonly fetcher: Fetcher & BatchFetcher
  readonly pieces: Pick<PieceFetcher, 'fetch'>
  readonly relay: Relay
  readonly disk: DiskWatch
  readonly metrics: Metrics
  readonly dataDir: string
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}
