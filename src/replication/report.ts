import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import type { Happening } from '../happening.ts'
import type { Hold } from '../mesh/member.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Metrics } from '../metrics.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Cluster } from './cluster.ts'
import type { Copies } from './copies.ts'
import { DISK_STATES, type DiskWatch } from './disk-space.ts'
import type { Downloads } from './downloads.ts'
import type { History } from './history.ts'
import type { Inventory } from './inventory.ts'
import type { Losses } from './losses.ts'
import type { Owed } from './owed.ts'

/** Counting copies costs a walk of each image: the gauge looks at no more than so many per scrape. */
const MAX_COUNTED_IMAGES = 20_000
/** Some milliseconds of work, before others get a turn of the event loop. */
const COUNTED_AT_ONCE = 500

export interface ReportOptions {
  readonly name: string
  readonly version: string
  /** Whether this node is one that holds everything. */
  readonly hold: Hold
  readonly mesh: Mesh
  readonly records: Records
  readonly blobs: Blobs
  readonly inventory: Inventory
  readonly downloads: Downloads
  readonly cluster: Cluster
  readonly copies: Copies
  readonly owed: Owed
  readonly history: History
  readonly losses: Losses
  readonly disk: DiskWatch
  readonly metrics: Metrics
  readonly clock: Clock
}

interface ImagePage {
  readonly limit: number
  readonly after?: { readonly repository: string; readonly tag: string }
}

type ImageReference =
  | { readonly kind: 'tag'; readonly repository: string; readonly tag: string }
  | { readonly kind: 'digest'; readonly repository: string; readonly digest: Digest }

/** What a node says of itself: status, copies and metrics (design section 8). */
export class Report {
  readonly #options: ReportOptions
  readonly #startedMs: number

  constructor(options: ReportOptions) {
    this.#options = options
    this.#startedMs = options.clock.monotonic()
  }

  readiness(): { ready: boolean; reason: string } {
    return this.#options.cluster.readiness()
  }

  async status(page: ImagePage) {
    const { mesh, blobs, inventory, downloads, disk, clock, name, version } = this.#options
    const { count, bytes } = blobs.totals()
    return {
      node: {
        id: mesh.id,
        name,
        version,
        uptimeSeconds: Math.round((clock.monotonic() - this.#startedMs) / 1000)
      },
      ...this.readiness(),
      peers: mesh
        .peers()
        .filter(({ state }) => state !== 'gone')
        .map(describePeer),
      refusedBy: mesh.discovery().refusedBy,
      holders: this.#holders(),
      blobs: { held: count, missing: inventory.missing().size, bytesHeld: bytes },
      images: await this.#images(page),
      transfers: downloads.running().map(each => ({
        digest: each.digest,
        bytes: each.sizeBytes ?? null,
        done: each.doneBytes,
        from: each.from
      })),
      disk: disk.space(),
      degraded: this.#degraded(),
      drift: this.#drift(),
      lost: await this.#options.losses.list()
    }
  }

  async copies(reference: ImageReference) {
    const { mesh, records, copies, name, hold } = this.#options
    const digest = await this.#digestOf(reference)
    const link = digest && (await records.link(reference.repository, digest))
    const others = mesh.peers().filter(peer => peer.state !== 'gone' && peer.hold === 'all')
    const self = {
      ...{ id: mesh.id, name, state: 'live' as const },
      holds: link === undefined ? null : copies.holdsHere(link.digest),
      missing: link === undefined ? [] : copies.missingHere(link.digest)
    }
    const missing = (peer: PeerView) =>
      link !== undefined && holds(peer) === false ? copies.missingThere(peer, link.digest) : []
    const holds = (peer: PeerView) =>
      link === undefined ? null : (copies.holdsThere(peer, link.digest) ?? null)
    return {
      reference:
        reference.kind === 'tag'
          ? `${reference.repository}:${reference.tag}`
          : `${reference.repository}@${reference.digest}`,
      digest: link?.digest ?? null,
      nodes: [
        ...(hold === 'all' ? [self] : []),
        ...others.map(peer => ({
          id: peer.id,
          name: peer.name,
          state: peer.state === 'live' ? ('live' as const) : ('away' as const),
          holds: holds(peer),
          missing: missing(peer)
        }))
      ]
    }
  }

  past(): readonly Happening[] {
    return this.#options.history.past()
  }

  follow(signal: AbortSignal): AsyncIterable<Happening> {
    return this.#options.history.follow(signal)
  }

  async metrics(): Promise<string> {
    const { metrics, mesh, blobs, inventory } = this.#options
    metrics.ready.set(this.readiness().ready ? 1 : 0)
    this.#measureDisk()
    metrics.peers.set(mesh.peers().filter(({ state }) => state === 'live').length)
    metrics.blobsHeld.set(blobs.totals().count)
    metrics.blobsMissing.set(inventory.missing().size)
    metrics.underReplicatedImages.set(await this.#underReplicated())
    metrics.clockDriftSeconds.set(this.#drift()?.seconds ?? 0)
    return metrics.text()
  }

  #measureDisk(): void {
    const { metrics, disk } = this.#options
    const { state, usedBytes, limitBytes } = disk.space()
    for (const each of DISK_STATES) metrics.diskState.set({ state: each }, each === state ? 1 : 0)
    metrics.diskUsedBytes.set(usedBytes)
    metrics.diskLimitBytes.set(limitBytes)
    metrics.diskFreeBytes.set(disk.freeBytes())
  }

  #drift() {
    const { records, mesh } = this.#options
    const worst = records.drift.worst()
    if (worst === undefined) return null
    const name = mesh.peer(worst.origin)?.name ?? worst.origin
    return { seconds: Math.round(worst.aheadMs / 1000), node: name }
  }

  async #images({ limit, after }: ImagePage) {
    if (limit === 0) return []
    const { copies } = this.#options
    const images = []
    for await (const { repository, tag, digest } of this.#options.records.tagsAll(after)) {
      images.push({
        repository,
        tag,
        digest,
        bytes: this.#size(digest),
        copies: copies.count(digest)
      })
      if (images.length === limit) break
    }
    return images
  }

  #degraded() {
    const { owed, copies } = this.#options
    return owed.images().flatMap(({ repository, tags, digest }) => {
      const shown = { digest, bytes: this.#size(digest), copies: copies.count(digest) }
      const names = tags.length === 0 ? [null] : tags
      return names.map(tag => ({ repository, tag, ...shown }))
    })
  }

  /** Of all that the image reaches; `null` while its manifest is not held here. */
  #size(manifest: Digest): number | null {
    const { blobs, inventory } = this.#options
    if (!inventory.graph.isRead(manifest)) return null
    let total = 0
    for (const digest of inventory.graph.reach(manifest)) {
      total += blobs.stat(digest)?.sizeBytes ?? inventory.graph.sizeBytes(digest) ?? 0
    }
    return total
  }

  async #underReplicated(): Promise<number> {
    const { inventory, copies, hold } = this.#options
    const wanted = this.#holders()
    const isComplete = hold === 'all' && inventory.missing().size === 0
    if (copies.complete() + (isComplete ? 1 : 0) >= wanted) return 0
    let under = 0
    let seen = 0
    for (const digest of inventory.graph.images()) {
      if (++seen > MAX_COUNTED_IMAGES) break
      if (seen % COUNTED_AT_ONCE === 0) await nextTurn()
      if (copies.count(digest) < wanted) under += 1
    }
    return under
  }

  /** How many members not gone should hold everything, this node included. */
  #holders(): number {
    const { mesh, hold } = this.#options
    const others = mesh.peers().filter(peer => peer.state !== 'gone' && peer.hold === 'all')
    return others.length + (hold === 'all' ? 1 : 0)
  }

  async #digestOf(reference: ImageReference): Promise<Digest | undefined> {
    if (reference.kind === 'digest') return reference.digest
    const tag = await this.#options.records.tag(reference.repository, reference.tag)
    return tag?.digest
  }
}

function describePeer({ id, name, address, state, connected, beat }: PeerView) {
  // What it said before it went away may no longer be so.
  const missing = state === 'live' ? (beat?.missingCount ?? null) : null
  return { id, name, address, state, connected, missing }
}
