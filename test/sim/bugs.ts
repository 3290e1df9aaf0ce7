import { tryDecodeRecord } from '../../src/records/record.ts'
import type { Records } from '../../src/records/records.ts'
import { HybridClock, type Stamp, TICKS_PER_MS } from '../../src/records/stamp.ts'
import type { Acknowledgement } from '../../src/replication/acknowledgement.ts'
import type { Cluster } from '../../src/replication/cluster.ts'
import { activeWorld, EPOCH_MS, type Host } from './machine/world.ts'

/** The parts of a node in which a bug can be planted. */
export interface Parts {
  readonly host: Host
  readonly records: Records
  readonly acknowledgement: Acknowledgement
  readonly cluster: Cluster
}

export type Plant =
  | 'no-sync'
  | 'ack-before-copy'
  | 'tombstone-dropped'
  | 'clock-not-merged'
  | 'ready-too-early'
  | 'tag-kept-in-memory'

/** Plants a bug; what it gives takes back what it did outside of the node. */
type Planting = (parts: Parts) => (() => void) | undefined

const ISSUE = HybridClock.prototype.issue

/** Bugs as they have been made elsewhere, to show that the simulator would find them here. */
export const PLANTS: Readonly<Record<Plant, Planting>> = {
  /** A record is answered for before it has reached the disk. */
  'no-sync': ({ host }: Parts) => {
    host.disk.lies = true
    return undefined
  },
  /** A push is answered before anybody else has it. */
  'ack-before-copy': ({ acknowledgement }: Parts) => {
    acknowledgement.pushed = async () => []
    return undefined
  },
  /** A node does not keep the tombstones that it hears of. */
  'tombstone-dropped': ({ records }: Parts) => {
    const apply = records.apply.bind(records)
    records.apply = all => apply(all.filter(bytes => tryDecodeRecord(bytes)?.deleted !== true))
    return undefined
  },
  /** Stamps follow the node's own clock, whatever it has seen. */
  'clock-not-merged': () => {
    let count = 0
    HybridClock.prototype.issue = () => {
      const world = activeWorld()
      const ms = EPOCH_MS + (world?.nowMs ?? 0) + (world?.host?.skewMs ?? 0)
      return (Math.floor(Math.max(1, ms)) * TICKS_PER_MS + (++count % TICKS_PER_MS)) as Stamp
    }
    return () => {
      HybridClock.prototype.issue = ISSUE
    }
  },
  /** A node takes pulls and pushes before it has caught up. */
  'ready-too-early': ({ cluster }: Parts) => {
    cluster.readiness = () => ({ ready: true, reason: 'ready' })
    cluster.mustNotWrite = () => false
    return undefined
  },
  /** What a tag said once is answered from memory, whatever it says by now. */
  'tag-kept-in-memory': ({ records }: Parts) => {
    const read = records.tag.bind(records)
    const known = new Map<string, ReturnType<typeof read>>()
    records.tag = (repository, tag) => {
      const name = `${repository}:${tag}`
      const value = known.get(name) ?? read(repository, tag)
      known.set(name, value)
      return value
    }
    return undefined
  }
}
