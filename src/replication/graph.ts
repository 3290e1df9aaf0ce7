import type { Digest } from '../digest.ts'
import { Parents } from './parents.ts'

/** What a manifest names, as far as replication cares. */
export interface GraphReference {
  readonly digest: Digest
  readonly sizeBytes: number
  /** The media type, when what is named is a manifest that names others in turn. */
  readonly manifestType: string | undefined
  /** A child of an index that may be left out: it counts only once it has been pushed itself. */
  readonly sparse: boolean
  /** Its place among all that the manifest names, as links count the absent ones. */
  readonly position: number
}

/** Positions of what was absent when a manifest was linked, and allowed to be. */
type Absent = readonly number[]

/** A manifest that refers to another one, as far as a list of referrers needs to know it. */
export interface Referrer {
  readonly digest: Digest
  readonly mediaType: string
  readonly sizeBytes: number
  readonly artifactType: string | undefined
  /** `'large'`: too many to keep in memory, to be read from the manifest again. */
  readonly annotations: Readonly<Record<string, string>> | 'large' | undefined
}

/**
 * Which blobs should exist, and in which repositories they may be seen.
 *
 * Roots are the live links and the leases of the records; edges come from the manifests that this
 * node has read. Pure state: it does no I/O, and digests cannot form cycles.
 */
export class Graph {
  readonly #links = new Map<Digest, Map<string, Absent>>()
  readonly #manifestTypes = new Map<Digest, string>()
  readonly #leases = new Map<Digest, Set<string>>()
  /** What leases say of the sizes of their blobs, which were pushed and measured. */
  readonly #leasedBytes = new Map<Digest, number>()
  readonly #children = new Map<Digest, readonly GraphReference[]>()
  readonly #parents = new Parents()
  readonly #referrers = new Map<Digest, Map<Digest, Referrer>>()
  readonly #subjects = new Map<Digest, Digest>()

  addLink(repository: string, manifest: Digest, mediaType: string, absent: Absent = []): void {
    const links = this.#links.get(manifest) ?? new Map<string, Absent>()
    this.#links.set(manifest, links.set(repository, absent))
    this.#manifestTypes.set(manifest, mediaType)
  }

  removeLink(repository: string, manifest: Digest): void {
    const links = this.#links.get(manifest)
    if (links?.delete(repository) && links.size === 0) this.#links.delete(manifest)
  }

  addLease(repository: string, digest: Digest, sizeBytes?: number): void {
    const leases = this.#leases.get(digest) ?? new Set<string>()
    this.#leases.set(digest, leases.add(repository))
    if (sizeBytes !== undefined) this.#leasedBytes.set(digest, sizeBytes)
  }

  removeLease(repository: string, digest: Digest): void {
    const leases = this.#leases.get(digest)
    if (!leases?.delete(repository) || leases.size > 0) return
    this.#leases.delete(digest)
    this.#leasedBytes.delete(digest)
  }

  /** Remembers what a manifest names, once its bytes have been read. */
  addManifest(manifest: Digest, references: readonly GraphReference[]): void {
    if (this.#children.has(manifest)) return
    this.#children.set(manifest, references)
    for (const reference of references) {
      const { digest, manifestType } = reference
      this.#parents.add(digest, manifest, reference)
      if (manifestType !== undefined && !this.#manifestTypes.has(digest)) {
        this.#manifestTypes.set(digest, manifestType)
      }
    }
  }

  /** Remembers that a manifest which has been read refers to another. */
  addReferrer(subject: Digest, referrer: Referrer): void {
    const referrers = this.#referrers.get(subject) ?? new Map<Digest, Referrer>()
    this.#referrers.set(subject, referrers.set(referrer.digest, referrer))
    this.#subjects.set(referrer.digest, subject)
  }

  /** Whether a manifest that has been read refers to another: it needs no tag to be found. */
  isReferrer(manifest: Digest): boolean {
    return this.#subjects.has(manifest)
  }

  /** The manifests of a repository that refer to another one, by digest; it need not exist itself. */
  referrers(repository: string, subject: Digest): Referrer[] {
    return [...(this.#referrers.get(subject)?.values() ?? [])]
      .filter(({ digest }) => this.isLinked(repository, digest))
      .sort((a, b) => (a.digest < b.digest ? -1 : 1))
  }

  /** Whether a manifest is in a repository. */
  isLinked(repository: string, manifest: Digest): boolean {
    return this.#links.get(manifest)?.has(repository) === true
  }

  /** Whether a lease binds a blob to a repository. */
  isLeased(repository: string, digest: Digest): boolean {
    return this.#leases.get(digest)?.has(repository) === true
  }

  /** Whether the manifest has been read, so that its reach is known one step further. */
  isRead(manifest: Digest): boolean {
    return this.#children.has(manifest)
  }

  /** What the manifest needs to be whole, one step down, as far as it has been read. */
  *needs(manifest: Digest): IterableIterator<Digest> {
    const links = [...(this.#links.get(manifest)?.values() ?? [])]
    for (const { digest, sparse, position } of this.#children.get(manifest) ?? []) {
      const mayLack =
        sparse || (links.length > 0 && links.every(absent => absent.includes(position)))
      if (!mayLack || this.isRoot(digest)) yield digest
    }
  }

  /** Whether a live link or a lease names this blob itself. */
  isRoot(digest: Digest): boolean {
    return this.#links.has(digest) || this.#leases.has(digest)
  }

  /** Whether some live link or lease calls for this blob. */
  isWanted(digest: Digest): boolean {
    return this.claim(digest) !== undefined
  }

  /** What calls for this blob, itself or through manifests that name it: a live link, or else a lease. */
  claim(digest: Digest): 'link' | 'lease' | undefined {
    let isLeased = false
    const isLinked = this.#someAncestor(digest, each => {
      isLeased ||= this.#leases.has(each)
      return this.#links.has(each)
    })
    if (isLinked) return 'link'
    return isLeased ? 'lease' : undefined
  }

  /** Forgets what a manifest names. Only for one that nothing calls for and that is not held. */
  forget(manifest: Digest): void {
    const children = this.#children.get(manifest) ?? []
    this.#children.delete(manifest)
    for (const { digest } of children) this.#parents.remove(digest, manifest)
    const subject = this.#subjects.get(manifest)
    if (subject !== undefined) drop(this.#referrers, subject, manifest)
    this.#subjects.delete(manifest)
    for (const digest of [manifest, ...children.map(child => child.digest)]) {
      const isKnown = [this.#parents, this.#links, this.#children].some(all => all.has(digest))
      if (!isKnown) this.#manifestTypes.delete(digest)
    }
  }

  /** The media type of a blob that is linked, or named by an index, as a manifest. */
  manifestType(digest: Digest): string | undefined {
    return this.#manifestTypes.get(digest)
  }

  /**
   * Whether the blob may be seen in the repository: a manifest linked there reaches it, or a lease
   * binds it there. What other repositories hold stays hidden (CVE-2024-39897).
   */
  isVisible(repository: string, digest: Digest): boolean {
    return this.isLeased(repository, digest) || this.isReached(repository, digest)
  }

  /**
   * Whether a manifest linked in the repository is, or reaches, the blob. What was absent when it
   * was linked does not count, or naming a digest would be enough to read it.
   */
  isReached(repository: string, digest: Digest): boolean {
    if (this.isLinked(repository, digest)) return true
    for (const [parent, { sparse, position }] of this.#parents.of(digest)) {
      if (sparse) continue
      const absent = this.#links.get(parent)?.get(repository)
      if (absent !== undefined && !absent.includes(position)) return true
    }
    return false
  }

  /**
   * The repositories in which the blob may be seen, some more than once: thousands of images may
   * share a layer, and who looks for one repository reads no further.
   */
  *repositoriesOf(digest: Digest): Generator<string, void> {
    yield* this.#leases.get(digest) ?? []
    yield* this.#links.get(digest)?.keys() ?? []
    for (const [parent, { sparse, position }] of this.#parents.of(digest)) {
      if (sparse) continue
      for (const [repository, absent] of this.#links.get(parent) ?? []) {
        if (!absent.includes(position)) yield repository
      }
    }
  }

  /** The size of the blob, if a manifest that names it has been read, or it is leased. */
  sizeBytes(digest: Digest): number | undefined {
    for (const [, { sizeBytes, sparse }] of this.#parents.of(digest)) {
      // Nobody has compared what an index says of a manifest that was not there.
      if (!sparse) return sizeBytes
    }
    return this.#leasedBytes.get(digest)
  }

  /** The manifest and all it reaches, each once, as far as manifests have been read. */
  reach(manifest: Digest): Set<Digest> {
    const seen = new Set<Digest>([manifest])
    for (const each of seen) {
      for (const digest of this.needs(each)) seen.add(digest)
    }
    return seen
  }

  /** The linked manifests that no other one names: images, and indexes of several. */
  *images(): IterableIterator<Digest> {
    for (const digest of this.#links.keys()) {
      const isNamed = [...this.#parents.of(digest)].some(([parent]) => this.#links.has(parent))
      if (!isNamed) yield digest
    }
  }

  /** The linked manifests that reach a blob, in each repository that has them. */
  *imagesWith(blob: Digest): IterableIterator<{ repository: string; digest: Digest }> {
    const seen = new Set<Digest>([blob])
    for (const digest of seen) {
      for (const repository of this.#links.get(digest)?.keys() ?? []) yield { repository, digest }
      for (const [parent] of this.#parents.of(digest)) seen.add(parent)
    }
  }

  /** Every root: digests that links or leases name directly. */
  *roots(): IterableIterator<Digest> {
    yield* this.#links.keys()
    for (const digest of this.#leases.keys()) if (!this.#links.has(digest)) yield digest
  }

  #someAncestor(digest: Digest, test: (each: Digest) => boolean): boolean {
    const seen = new Set<Digest>([digest])
    for (const each of seen) {
      if (test(each)) return true
      for (const [parent] of this.#parents.of(each)) seen.add(parent)
    }
    return false
  }
}

function drop<T>(all: Map<Digest, Map<Digest, T>>, outer: Digest, inner: Digest): void {
  const entries = all.get(outer)
  if (entries?.delete(inner) && entries.size === 0) all.delete(outer)
}
