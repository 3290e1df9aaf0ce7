import type { Digest } from '../digest.ts'

/** What a manifest names, as far as replication cares. */
export interface GraphReference {
  readonly digest: Digest
  readonly sizeBytes: number
  /** The media type, when what is named is a manifest that names others in turn. */
  readonly manifestType: string | undefined
  /** A child of an index that may be left out: it counts only once it has been pushed itself. */
  readonly sparse: boolean
}

/**
 * Which blobs should exist, and in which repositories they may be seen.
 *
 * Roots are the live links and the leases of the records; edges come from the manifests that this
 * node has read. Pure state: it does no I/O, and digests cannot form cycles.
 */
export class Graph {
  readonly #links = new Map<Digest, Set<string>>()
  readonly #manifestTypes = new Map<Digest, string>()
  readonly #leases = new Map<Digest, Set<string>>()
  readonly #children = new Map<Digest, readonly GraphReference[]>()
  readonly #parents = new Map<Digest, Set<Digest>>()

  addLink(repository: string, manifest: Digest, mediaType: string): void {
    add(this.#links, manifest, repository)
    this.#manifestTypes.set(manifest, mediaType)
  }

  removeLink(repository: string, manifest: Digest): void {
    remove(this.#links, manifest, repository)
  }

  addLease(repository: string, digest: Digest): void {
    add(this.#leases, digest, repository)
  }

  removeLease(repository: string, digest: Digest): void {
    remove(this.#leases, digest, repository)
  }

  /** Remembers what a manifest names, once its bytes have been read. */
  addManifest(manifest: Digest, references: readonly GraphReference[]): void {
    if (this.#children.has(manifest)) return
    this.#children.set(manifest, references)
    for (const { digest, manifestType } of references) {
      add(this.#parents, digest, manifest)
      if (manifestType !== undefined && !this.#manifestTypes.has(digest)) {
        this.#manifestTypes.set(digest, manifestType)
      }
    }
  }

  /** Whether the manifest has been read, so that its reach is known one step further. */
  isRead(manifest: Digest): boolean {
    return this.#children.has(manifest)
  }

  /** What the manifest needs to be whole, one step down, as far as it has been read. */
  *needs(manifest: Digest): IterableIterator<Digest> {
    for (const { digest, sparse } of this.#children.get(manifest) ?? []) {
      if (!sparse || this.isRoot(digest)) yield digest
    }
  }

  /** Whether a live link or a lease names this blob itself. */
  isRoot(digest: Digest): boolean {
    return this.#links.has(digest) || this.#leases.has(digest)
  }

  /** Whether some live link or lease calls for this blob. */
  isWanted(digest: Digest): boolean {
    return this.#someAncestor(digest, each => this.isRoot(each))
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
    if (this.#leases.get(digest)?.has(repository)) return true
    return this.#someAncestor(digest, each => this.#links.get(each)?.has(repository) === true)
  }

  /** The size that a manifest gives for the blob, if one that names it has been read. */
  sizeBytes(digest: Digest): number | undefined {
    for (const parent of this.#parents.get(digest) ?? []) {
      const named = this.#children.get(parent)?.find(child => child.digest === digest)
      if (named !== undefined) return named.sizeBytes
    }
    return undefined
  }

  /** The manifest and all it reaches, each once, as far as manifests have been read. */
  reach(manifest: Digest): Set<Digest> {
    const seen = new Set<Digest>([manifest])
    for (const each of seen) {
      for (const digest of this.needs(each)) seen.add(digest)
    }
    return seen
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
      for (const parent of this.#parents.get(each) ?? []) seen.add(parent)
    }
    return false
  }
}

function add<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key)
  if (set === undefined) map.set(key, new Set([value]))
  else set.add(value)
}

function remove<K, V>(map: Map<K, Set<V>>, key: K, value: V): void {
  const set = map.get(key)
  if (set?.delete(value) && set.size === 0) map.delete(key)
}
