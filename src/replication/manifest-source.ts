import type { Clock } from '../clock.ts'
import type { Digest } from '../digest.ts'
import { parseStoredManifest } from '../manifest.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import type { BlobSource } from './blob-source.ts'
import type { Cluster } from './cluster.ts'
import type { Inventory } from './inventory.ts'
import { ASK_TIMEOUT_MS, type Lookup } from './lookup.ts'
import { PassedManifests } from './passed-manifests.ts'
import { unavailable } from './unavailable.ts'

/** A pusher asks for the same image a few times in a row; its files are looked at once in so long. */
const LOOKED_AT_MS = 1_000
const MAX_LOOKED_AT = 1_024

/** A manifest as it was pushed. */
export interface FoundManifest {
  readonly digest: Digest
  readonly mediaType: string
  readonly bytes: Buffer
}

export interface ManifestSourceOptions {
  readonly blobs: Blobs
  readonly records: Records
  readonly inventory: Inventory
  readonly cluster: Cluster
  readonly source: BlobSource
  readonly lookup: Lookup
  readonly clock: Clock
}

/** Manifests by tag and by digest, from here or from a peer. */
export class ManifestSource {
  readonly #options: ManifestSourceOptions
  readonly #passed: PassedManifests
  /** Images whose files were all there, until when that is believed. */
  readonly #lookedAt = new Map<Digest, number>()

  constructor(options: ManifestSourceOptions) {
    this.#options = options
    this.#passed = new PassedManifests(options)
  }

  /** @returns `undefined` when there is none. May throw `UNAVAILABLE`. */
  async find(
    repository: string,
    reference: string,
    signal: AbortSignal
  ): Promise<FoundManifest | undefined> {
    const link = await this.#resolve(repository, reference)
    if (link === undefined) return undefined
    const { digest, mediaType } = link
    const bytes = await this.#options.source.bytes(digest, signal)
    if (bytes === undefined) return undefined
    this.#passed.learn(digest, mediaType, bytes)
    return { digest, mediaType, bytes }
  }

  /**
   * As {@link find}, but only when all that it reaches can be given whole now: clients push nothing
   * of what is there (P5). Manifests in between that are not here are fetched to be read.
   */
  async findWhole(
    repository: string,
    reference: string,
    signal: AbortSignal
  ): Promise<FoundManifest | undefined> {
    const found = await this.find(repository, reference, signal)
    if (found === undefined) return undefined
    const { clock, inventory } = this.#options
    const nowMs = clock.monotonic()
    const isLookedAt = (this.#lookedAt.get(found.digest) ?? 0) > nowMs
    if (isLookedAt && inventory.holdsAll(found.digest)) return found
    const reach = await this.#reach(found.digest, signal)
    if (reach === undefined) return undefined
    const absent: Digest[] = []
    for (const digest of reach) {
      if ((await this.#options.blobs.look(digest)) === undefined) absent.push(digest)
    }
    if (absent.length === 0) {
      this.#remember(found.digest, nowMs + LOOKED_AT_MS)
      return found
    }
    const { held, silent } = await this.#options.cluster.locate(absent, ASK_TIMEOUT_MS)
    if (absent.every(digest => held.has(digest))) return found
    if (silent.length === 0) return undefined
    throw unavailable(`not every live member has said whether it holds what ${reference} needs`)
  }

  /** The annotations of a manifest, from its bytes. */
  async annotations(
    digest: Digest,
    mediaType: string,
    signal: AbortSignal
  ): Promise<Readonly<Record<string, string>> | undefined> {
    const bytes = await this.#options.source.bytes(digest, signal)
    return bytes && parseStoredManifest(bytes, mediaType).annotations
  }

  async #resolve(repository: string, reference: string) {
    const { records, lookup } = this.#options
    await lookup.catchUpUnlessReady()
    const find = async () => {
      if (isDigest(reference)) return records.link(repository, reference)
      const tag = await records.tag(repository, reference)
      return tag && records.link(repository, tag.digest)
    }
    const known = await find()
    if (known !== undefined) return known
    await lookup.settle(async () => (await find()) !== undefined, reference)
    return find()
  }

  /** `undefined` when a manifest in between is nowhere, and with it whatever it names. */
  async #reach(manifest: Digest, signal: AbortSignal): Promise<ReadonlySet<Digest> | undefined> {
    const { inventory, source } = this.#options
    const { graph } = inventory
    await inventory.settled()
    const reach = new Set<Digest>([manifest])
    for (const digest of reach) {
      const mediaType = graph.manifestType(digest)
      if (mediaType !== undefined && !graph.isRead(digest)) {
        const bytes = await source.bytes(digest, signal)
        if (bytes === undefined) return undefined
        this.#passed.learn(digest, mediaType, bytes)
      }
      for (const needed of graph.needs(digest)) reach.add(needed)
    }
    return reach
  }

  #remember(digest: Digest, untilMs: number): void {
    const [oldest] = this.#lookedAt.keys()
    if (this.#lookedAt.size >= MAX_LOOKED_AT && oldest !== undefined) this.#lookedAt.delete(oldest)
    this.#lookedAt.delete(digest)
    this.#lookedAt.set(digest, untilMs)
  }
}

function isDigest(reference: string): reference is Digest {
  return reference.includes(':')
}
