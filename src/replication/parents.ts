import type { Digest } from '../digest.ts'
import type { GraphReference } from './graph.ts'

/** A manifest that names something, and how it does. */
type Parent = readonly [manifest: Digest, reference: GraphReference]

/**
 * Which manifests name each digest. Most blobs have one parent, and none of them pays for a Map: at
 * 100,000 blobs that is 12 MiB (`npm run prove -- many-blobs`).
 */
export class Parents {
  readonly #all = new Map<Digest, Parent | Map<Digest, GraphReference>>()

  add(digest: Digest, manifest: Digest, reference: GraphReference): void {
    const known = this.#all.get(digest)
    if (known === undefined) this.#all.set(digest, [manifest, reference])
    else if (known instanceof Map) known.set(manifest, reference)
    else this.#all.set(digest, new Map([known, [manifest, reference]]))
  }

  remove(digest: Digest, manifest: Digest): void {
    const known = this.#all.get(digest)
    if (known === undefined) return
    if (!(known instanceof Map)) {
      if (known[0] === manifest) this.#all.delete(digest)
    } else if (known.delete(manifest) && known.size === 0) this.#all.delete(digest)
  }

  has(digest: Digest): boolean {
    return this.#all.has(digest)
  }

  /** The parents of a digest, in the order in which they were read. */
  of(digest: Digest): Iterable<Parent> {
    const known = this.#all.get(digest)
    if (known === undefined) return NONE
    return known instanceof Map ? known : [known]
  }
}

const NONE: readonly Parent[] = []
