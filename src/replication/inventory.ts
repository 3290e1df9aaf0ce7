import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import type { Log } from '../log.ts'
import { MAX_MANIFEST_BYTES } from '../manifest.ts'
import type { Applied, Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import { Graph } from './graph.ts'
import { addToGraph } from './manifest-edges.ts'
import { Retries } from './retries.ts'

/** A disk or a process short of something for a moment is asked again about as often as a person would. */
const READ_RETRY_MS = 1_000

/** Manifests read at a time at a start: one after the other, 5,000 of them take twice as long. */
const FIRST_READERS = 16

export interface InventoryOptions {
  readonly blobs: Blobs
  readonly records: Records
  /** Whether what should exist should exist here; it should if not given. */
  readonly stores?: boolean
  readonly clock: Clock
  readonly log: Log
}

/** How far into the records the missing list below has been worked out. */
export interface CaughtUp {
  readonly root: string
  readonly sequence: number
}

/**
 * What should exist against what is held: follows the records and the blobs, reads each manifest
 * once when it is here, and keeps the list of what is missing.
 */
export class Inventory {
  readonly graph = new Graph()
  readonly #blobs: Blobs
  readonly #records: Records
  readonly #stores: boolean
  readonly #clock: Clock
  readonly #log: Log
  readonly #missing = new Map<Digest, { readonly sinceMs: number }>()
  readonly #missingListeners = new Set<(digest: Digest) => void>()
  /** How far in the records each manifest was linked; those from before this start are not in it. */
  readonly #linkedAt = new Map<Digest, number>()
  readonly #unsubscribe: (() => void)[] = []
  /** Records heard of and not yet worked in, and where the records stood after the last of them. */
  #heard: Applied[] = []
  #heardUpTo: CaughtUp = { root: '', sequence: 0 }
  #caughtUp: CaughtUp = { root: '', sequence: 0 }
  readonly #retries = new Retries(READ_RETRY_MS)
  #work: Promise<void> = Promise.resolve()

  private constructor(options: InventoryOptions) {
    this.#blobs = options.blobs
    this.#records = options.records
    this.#stores = options.stores ?? true
    this.#clock = options.clock
    this.#log = options.log
  }

  static async open(options: InventoryOptions): Promise<Inventory> {
    const inventory = new Inventory(options)
    await inventory.#load()
    return inventory
  }

  /** What should exist here and is not held, oldest first, with since when (monotonic). */
  missing(): ReadonlyMap<Digest, { readonly sinceMs: number }> {
    return this.#missing
  }

  caughtUp(): CaughtUp {
    return this.#caughtUp
  }

  /** The sequence of the record that linked a manifest; 0 when it was linked before this start. */
  linkedAt(manifest: Digest): number {
    return this.#linkedAt.get(manifest) ?? 0
  }

  /** Whether everything the manifest reaches, itself included, is held. */
  holdsAll(manifest: Digest): boolean {
    const reach = this.wholeReach(manifest)
    if (reach === undefined) return false
    for (const digest of reach) if (this.#blobs.stat(digest) === undefined) return false
    return true
  }

  /**
   * The manifest and all it reaches; `undefined` while some manifest among it has not been read
   * here, since anything may hide below that.
   */
  wholeReach(manifest: Digest): ReadonlySet<Digest> | undefined {
    if (!this.graph.isRead(manifest)) return undefined
    const reach = this.graph.reach(manifest)
    for (const digest of reach) {
      const isManifest = this.graph.manifestType(digest) !== undefined
      if (isManifest && !this.graph.isRead(digest)) return undefined
    }
    return reach
  }

  /** Ends leases whose time is over, whatever their records say. */
  endLeases(names: readonly { readonly repository: string; readonly digest: Digest }[]): void {
    for (const { repository, digest } of names) this.graph.removeLease(repository, digest)
    this.#forgetUnwanted()
  }

  /** A blob that nothing calls for is held no more. */
  forget(digest: Digest): void {
    this.graph.forget(digest)
    this.#linkedAt.delete(digest)
  }

  /** Tries once more to read a manifest that is held and could not be read. */
  readAgain(manifest: Digest): void {
    this.#enqueue(() => this.#expand(manifest))
  }

  /** Waits until all of an image is held; false when the signal comes first. */
  async whenHeld(manifest: Digest, signal: AbortSignal): Promise<boolean> {
    let changed = Promise.withResolvers<void>()
    const wake = () => changed.resolve()
    const unsubscribe = this.#blobs.onHeld(wake)
    signal.addEventListener('abort', wake)
    try {
      for (;;) {
        await this.settled()
        if (this.holdsAll(manifest)) return true
        if (signal.aborted) return false
        await changed.promise
        changed = Promise.withResolvers<void>()
      }
    } finally {
      unsubscribe()
      signal.removeEventListener('abort', wake)
    }
  }

  /** Calls back for each digest that becomes missing; returns how to stop. */
  onMissing(listener: (digest: Digest) => void): () => void {
    this.#missingListeners.add(listener)
    return () => this.#missingListeners.delete(listener)
  }

  /** Resolves when every change heard of so far has been worked in. */
  settled(): Promise<void> {
    return this.#work
  }

  async close(): Promise<void> {
    for (const unsubscribe of this.#unsubscribe.splice(0)) unsubscribe()
    this.#retries.close()
    await this.#work
  }

  async #load(): Promise<void> {
    this.#unsubscribe.push(
      this.#records.onApplied(applied => this.#hear(applied)),
      this.#blobs.onHeld(digest => this.#held(digest)),
      this.#blobs.onLost(digest => this.#enqueue(async () => this.#miss(digest)))
    )
    const caughtUp = this.#position()
    for await (const { repository, digest, mediaType, absent } of this.#records.links()) {
      this.graph.addLink(repository, digest, mediaType, absent)
    }
    for await (const { repository, digest, sizeBytes } of this.#records.leases()) {
      this.graph.addLease(repository, digest, sizeBytes)
    }
    await this.#readKnown()
    const roots = [...this.graph.roots()].values()
    const expandRest = async () => {
      for (const root of roots) await this.#expand(root)
    }
    await Promise.all(Array.from({ length: FIRST_READERS }, expandRest))
    this.#caughtUp = caughtUp
  }

  /** Reads what can be had without opening a file for each; the rest is read as it is met. */
  async #readKnown(): Promise<void> {
    for await (const [digest, bytes] of this.#blobs.bytesKnown()) {
      const mediaType = this.graph.manifestType(digest)
      if (mediaType !== undefined) this.#add(digest, mediaType, bytes)
    }
  }

  /** Changes are worked in one after the other: each may have to read a manifest from disk. */
  #enqueue(change: () => Promise<void>): void {
    this.#work = this.#work.then(change).catch(error => {
      this.#log.error({ err: error }, 'inventory change failed')
    })
  }

  /**
   * Writers that share one commit are told of one after the other, at once, with the root of them
   * all: so what is worked in together is whatever was heard by the time its turn comes.
   */
  #hear(applied: readonly Applied[]): void {
    if (this.#heard.length === 0) {
      this.#enqueue(() => this.#apply(this.#heard.splice(0), this.#heardUpTo))
    }
    for (const each of applied) this.#heard.push(each)
    this.#heardUpTo = this.#position()
  }

  /** A manifest stays missing until what it names is known to be: no heartbeat falls in between. */
  #held(digest: Digest): void {
    if (this.graph.manifestType(digest) === undefined) {
      this.#missing.delete(digest)
      return
    }
    this.#enqueue(async () => {
      await this.#expand(digest)
      if (this.#blobs.stat(digest) !== undefined) this.#missing.delete(digest)
    })
  }

  async #apply(applied: readonly Applied[], upTo: CaughtUp): Promise<void> {
    for (const { value, before, sequence } of applied) {
      if (before?.kind === 'link') this.graph.removeLink(before.repository, before.digest)
      if (before?.kind === 'lease') this.graph.removeLease(before.repository, before.digest)
      if (value?.kind === 'link') {
        this.graph.addLink(value.repository, value.digest, value.mediaType, value.absent)
        if (before === undefined) this.#linkedAt.set(value.digest, sequence)
      }
      if (value?.kind === 'lease') {
        this.graph.addLease(value.repository, value.digest, value.sizeBytes)
      }
    }
    let isLess = false
    for (const { value, before } of applied) {
      if (value?.kind === 'link' || value?.kind === 'lease') await this.#expand(value.digest)
      else if (before?.kind === 'link' || before?.kind === 'lease') isLess = true
    }
    // Once for all of them: a node that has just joined misses a hundred thousand.
    if (isLess) this.#forgetUnwanted()
    this.#caughtUp = upTo
  }

  /** Where the records stand now. */
  #position(): CaughtUp {
    return { root: this.#records.root().hash, sequence: this.#records.sequence() }
  }

  async #expand(root: Digest): Promise<void> {
    const seen = new Set<Digest>([root])
    for (const digest of seen) {
      if (this.#blobs.stat(digest) === undefined) {
        this.#miss(digest)
        continue
      }
      const mediaType = this.graph.manifestType(digest)
      if (mediaType === undefined) continue
      if (!this.graph.isRead(digest)) await this.#read(digest, mediaType)
      for (const needed of this.graph.needs(digest)) seen.add(needed)
    }
  }

  async #read(manifest: Digest, mediaType: string): Promise<void> {
    try {
      this.#add(manifest, mediaType, await this.#blobs.bytes(manifest, MAX_MANIFEST_BYTES))
    } catch (error) {
      this.#log.warn({ digest: manifest, err: error }, 'manifest unreadable')
      // What cannot be read for now may name anything: its blobs must neither be collected nor be
      // counted as held.
      if (this.#blobs.stat(manifest) === undefined) return
      this.#retries.later(() => this.readAgain(manifest))
    }
  }

  /** Verified bytes that are no manifest name nothing. */
  #add(manifest: Digest, mediaType: string, bytes: Buffer): void {
    try {
      addToGraph(this.graph, manifest, mediaType, bytes)
    } catch (error) {
      if (!isCode(error, 'MANIFEST_INVALID')) throw error
      this.#log.warn({ digest: manifest, err: error }, 'not a manifest')
      this.graph.addManifest(manifest, [])
    }
  }

  #miss(digest: Digest): void {
    if (!this.#stores || this.#missing.has(digest) || !this.graph.isWanted(digest)) return
    if (this.#blobs.stat(digest) !== undefined) return
    this.#missing.set(digest, { sinceMs: this.#clock.monotonic() })
    for (const listener of this.#missingListeners) listener(digest)
  }

  #forgetUnwanted(): void {
    for (const digest of this.#missing.keys()) {
      if (!this.graph.isWanted(digest)) this.#missing.delete(digest)
    }
  }
}
