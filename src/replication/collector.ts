import { setTimeout as delay } from 'node:timers/promises'
import { type Digest, tryDigest } from '../digest.ts'
import type { Log } from '../log.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Metrics } from '../metrics.ts'
import { MAX_WRITES } from '../records/plans.ts'
import type { Applied, Records } from '../records/records.ts'
import { Turns } from '../store/turns.ts'
import type { Uploads } from '../store/uploads.ts'
import type { Cluster } from './cluster.ts'
import { Candidates, obstacles } from './collect.ts'
import type { DiskWatch } from './disk-space.ts'
import type { Downloads } from './downloads.ts'
import type { Replicator } from './replicator.ts'
import type { RunningTime } from './running-time.ts'
import { claimOn, type Explained, type Sum, type SurveyParts, survey } from './survey.ts'
import type { Synchroniser } from './synchroniser.ts'

/** A look is some 100 ms of work with 100,000 blobs, and a grace rarely shorter than an hour. */
export const MAX_LOOK_INTERVAL_MS = 60_000
const MIN_LOOK_INTERVAL_MS = 100
/** A grace is kept to this part of itself. */
const LOOKS_PER_GRACE = 4
/** How long members have to bring their records level with ours before a sweep. */
const LEVEL_TIMEOUT_MS = 3_000

export interface CollectorOptions extends SurveyParts {
  readonly graceMs: number
  readonly uploads: Pick<Uploads, 'repositories'>
  readonly records: Records
  readonly mesh: Pick<Mesh, 'peers'>
  readonly synchroniser: Pick<Synchroniser, 'levelWithAll'>
  readonly cluster: Pick<Cluster, 'readiness' | 'mayReturn'>
  readonly replicator: Pick<Replicator, 'hasFailed'>
  readonly downloads: Pick<Downloads, 'get'>
  readonly disk: Pick<DiskWatch, 'space'>
  readonly metrics: Metrics
  readonly time: RunningTime
  readonly log: Log
}

export interface CollectionMode {
  /** Decide and explain, and change nothing. */
  readonly dryRun?: boolean
  /** Do not stay quiet for one lease time after a start. */
  readonly now?: boolean
}

/** What came of one look at everything held. */
export interface Collection {
  readonly dryRun: boolean
  /** Why nothing may be swept, in words. */
  readonly obstacles: readonly string[]
  readonly kept: Sum
  readonly waiting: Sum
  /** What has waited long enough; it goes if nothing is in the way. */
  readonly due: Sum
  readonly swept: Sum
  /** Of a dry run also the images that no tag points at; else as {@link survey} says. */
  readonly explained: readonly Explained[]
  readonly unexplained: number
}

/**
 * Gives the disk back what nothing calls for any more, beside everything else that goes on. What
 * decides is pure (`collect.ts`); here are the facts, the loop and the removals.
 */
export class Collector {
  readonly #options: CollectorOptions
  readonly #candidates = new Candidates()
  readonly #turns = new Turns<'collect'>()
  readonly #closing = new AbortController()
  readonly #unsubscribe: () => void
  #loop: Promise<void> | undefined

  constructor(options: CollectorOptions) {
    this.#options = options
    this.#unsubscribe = options.records.onApplied(applied => this.#heed(applied))
  }

  start(): void {
    this.#loop ??= this.#collectForEver()
  }

  /** Looks at everything held, sweeps what may go, and says why. One at a time. */
  collect(mode: CollectionMode = {}): Promise<Collection> {
    return this.#turns.take('collect', () => this.#collect({ ...mode, asked: true }))
  }

  async close(): Promise<void> {
    this.#closing.abort()
    this.#unsubscribe()
    await this.#loop
    await this.#turns.take('collect', async () => undefined)
  }

  async #collectForEver(): Promise<void> {
    const { graceMs, log } = this.#options
    const { signal } = this.#closing
    const wantedMs = Math.max(graceMs / LOOKS_PER_GRACE, MIN_LOOK_INTERVAL_MS)
    const intervalMs = Math.min(wantedMs, MAX_LOOK_INTERVAL_MS)
    for (;;) {
      await delay(intervalMs, undefined, { signal, ref: false }).catch(() => undefined)
      if (signal.aborted) return
      const collected = this.#turns.take('collect', () => this.#collect({ asked: false }))
      await collected.catch(error => log.error({ err: error }, 'collection failed'))
    }
  }

  async #collect({
    dryRun = false,
    now = false,
    asked
  }: CollectionMode & { readonly asked: boolean }): Promise<Collection> {
    const { inventory, time, graceMs, metrics } = this.#options
    if (!dryRun) await this.#endLeases()
    await inventory.settled()
    const untagged = dryRun ? await this.#untagged() : new Set<Digest>()
    const facts = { nowMs: time.ms(), graceMs }
    const found = await survey(this.#options, this.#candidates, facts, untagged)
    for (const digest of found.unread) inventory.readAgain(digest)
    // Asking the others costs messages: only when something depends on it, or somebody asked.
    const isIdle = found.due.length === 0 && !asked
    const inTheWay = isIdle ? [] : await this.#obstacles(now, found.unread.length)
    const mayGo = !dryRun && inTheWay.length === 0
    const swept = mayGo ? await this.#sweepAll(found.due) : { blobs: 0, bytes: 0 }
    if (!dryRun) await this.#clearPartials()
    metrics.collectionCandidates.set(this.#candidates.size)
    const { sums, explained, unexplained } = found
    const { keep: kept, wait: waiting, sweep: due } = sums
    return { dryRun, obstacles: inTheWay, kept, waiting, due, swept, explained, unexplained }
  }

  /** Images that no tag points at: who deletes a tag leaves the image behind. */
  async #untagged(): Promise<ReadonlySet<Digest>> {
    const { records, inventory } = this.#options
    const { graph } = inventory
    const untagged = new Set([...graph.images()].filter(each => !graph.isReferrer(each)))
    for await (const { digest } of records.tagsAll()) untagged.delete(digest)
    return untagged
  }

  async #obstacles(now: boolean, unreadHere: number): Promise<readonly string[]> {
    const { mesh, records, cluster, synchroniser, leases, time } = this.#options
    const { answered } = await synchroniser.levelWithAll(LEVEL_TIMEOUT_MS)
    const others = mesh.peers().filter(({ state }) => state !== 'gone')
    return obstacles({
      nowMs: time.ms(),
      quietUntilMs: now ? 0 : leases.ttlMs,
      ready: cluster.readiness().ready,
      unreadableRecords: records.unreadable(),
      unreadManifests: unreadHere + this.#manifestsToCome(),
      others: others.length,
      liveOthers: others.filter(({ state }) => state === 'live').length,
      levelOthers: answered.length
    })
  }

  /** A manifest that is lost everywhere would hold up the disk for ever, and names what is of no use. */
  #manifestsToCome(): number {
    const { inventory, cluster, replicator } = this.#options
    const isLost = (digest: Digest) => replicator.hasFailed(digest) && !cluster.mayReturn()
    return inventory
      .missing()
      .keys()
      .filter(digest => inventory.graph.manifestType(digest) !== undefined && !isLost(digest))
      .toArray().length
  }

  async #sweepAll(due: readonly Digest[]): Promise<Sum> {
    const { metrics, log } = this.#options
    const swept = { blobs: 0, bytes: 0 }
    for (const digest of due) {
      if (this.#closing.signal.aborted || !this.#options.cluster.readiness().ready) break
      const bytes = await this.#sweep(digest)
      if (bytes === undefined) continue
      swept.blobs += 1
      swept.bytes += bytes
      metrics.collectedBlobs.inc()
      metrics.collectedBytes.inc(bytes)
    }
    if (swept.blobs > 0) log.info({ ...swept, left: due.length - swept.blobs }, 'blobs collected')
    return swept
  }

  /** The last look is in the blob's own turn of the store, so that whoever brings it anew comes after. */
  async #sweep(digest: Digest): Promise<number | undefined> {
    const { blobs, inventory, time, graceMs } = this.#options
    // A record is known to the graph a moment after it was written.
    await inventory.settled()
    const bytes = blobs.stat(digest)?.sizeBytes
    const isStillDue = () => {
      const claim = claimOn(this.#options, digest)
      const facts = { nowMs: time.ms(), graceMs }
      return this.#candidates.look(digest, claim, facts).kind === 'sweep'
    }
    if (!(await blobs.remove(digest, isStillDue))) return undefined
    this.#candidates.forget(digest)
    inventory.forget(digest)
    return bytes
  }

  /** What was called for between two looks, be it for a moment, is no candidate any more. */
  #heed(applied: readonly Applied[]): void {
    const { graph } = this.#options.inventory
    for (const { value } of applied) {
      if (value?.kind !== 'link' && value?.kind !== 'lease') continue
      for (const digest of graph.reach(value.digest)) this.#candidates.forget(digest)
    }
  }

  /** Above the disk limit only a push that is still uploading keeps what it has leased. */
  async #endLeases(): Promise<void> {
    const { leases, inventory, uploads, disk, records, cluster } = this.#options
    const isFull = disk.space().state === 'full'
    const expired = leases.takeExpired(isFull ? uploads.repositories() : undefined)
    if (expired.length > 0) inventory.endLeases(expired)
    if (!cluster.readiness().ready) return
    const over = leases.releasable().map(name => ({ kind: 'release' as const, ...name }))
    for (let at = 0; at < over.length; at += MAX_WRITES) {
      await records.write(over.slice(at, at + MAX_WRITES))
    }
  }

  /** What a download has left behind of a blob that is held by now, or not called for any more. */
  async #clearPartials(): Promise<void> {
    const { blobs, inventory, downloads, cluster, log } = this.#options
    if (!cluster.readiness().ready) return
    const isOfUse = (digest: Digest) =>
      downloads.get(digest) !== undefined ||
      (blobs.stat(digest) === undefined && inventory.graph.claim(digest) !== undefined)
    const clear = async (name: string, remove: (name: string) => Promise<boolean>) => {
      const digest = tryDigest(name.replace('-', ':'))
      if (digest === undefined || isOfUse(digest)) return
      if (await remove(name)) log.info({ digest }, 'rest of a download removed')
    }
    for (const name of await blobs.partials()) await clear(name, each => blobs.removePartial(each))
    for (const name of await blobs.pieceNames()) await clear(name, each => blobs.removePieces(each))
  }
}
