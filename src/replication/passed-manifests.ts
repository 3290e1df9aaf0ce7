import type { Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import type { Blobs } from '../store/blobs.ts'
import type { Inventory } from './inventory.ts'
import { addToGraph } from './manifest-edges.ts'

/** With each manifest learnt so many of the earlier ones are looked at again. */
const LOOKS = 16

/**
 * Manifests that were passed on to clients and are not held: what they name can be seen here, and
 * passed on too. They are forgotten when nothing calls for them any more, as collection does with
 * those that are held.
 */
export class PassedManifests {
  readonly #inventory: Pick<Inventory, 'graph' | 'forget'>
  readonly #blobs: Pick<Blobs, 'stat'>
  readonly #learnt = new Set<Digest>()

  constructor(options: {
    readonly inventory: Pick<Inventory, 'graph' | 'forget'>
    readonly blobs: Pick<Blobs, 'stat'>
  }) {
    this.#inventory = options.inventory
    this.#blobs = options.blobs
  }

  /** Learns what a manifest names, unless that is known; what is none names nothing. */
  learn(manifest: Digest, mediaType: string, bytes: Buffer): void {
    const { graph } = this.#inventory
    if (graph.isRead(manifest) || !graph.isWanted(manifest)) return
    try {
      addToGraph(graph, manifest, mediaType, bytes)
    } catch (error) {
      if (!isCode(error, 'MANIFEST_INVALID')) throw error
      graph.addManifest(manifest, [])
    }
    for (const earlier of [...this.#learnt.values().take(LOOKS)]) this.#lookAgain(earlier)
    this.#learnt.add(manifest)
  }

  /** The set keeps the order of insertion, so that each has its turn. */
  #lookAgain(manifest: Digest): void {
    this.#learnt.delete(manifest)
    if (this.#blobs.stat(manifest) !== undefined) return
    if (this.#inventory.graph.isWanted(manifest)) this.#learnt.add(manifest)
    else this.#inventory.forget(manifest)
  }
}
