import type { Digest } from '../digest.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Records } from '../records/records.ts'
import type { Inventory } from './inventory.ts'

/** Summaries are seconds old: so many of our own past roots are enough to place them. */
const MAX_ROOTS = 4_096

/**
 * Judges which members hold an image, from the holding summaries in their heartbeats: nobody
 * exchanges lists of what is held. A summary counts for the records that its root covers, so a
 * member is only believed about an image that it is known to have heard of.
 */
export class Copies {
  readonly #mesh: Mesh
  readonly #records: Records
  readonly #inventory: Inventory
  /** Our own roots of late, and how far in our records each stood. */
  readonly #roots = new Map<string, number>()
  readonly #covered = new Map<string, number>()
  readonly #unsubscribe: () => void

  constructor(options: { mesh: Mesh; records: Records; inventory: Inventory }) {
    this.#mesh = options.mesh
    this.#records = options.records
    this.#inventory = options.inventory
    this.#remember()
    this.#unsubscribe = this.#records.onApplied(() => this.#remember())
  }

  close(): void {
    this.#unsubscribe()
  }

  /** Whether this node holds all of an image. */
  holdsHere(manifest: Digest): boolean {
    return this.#inventory.holdsAll(manifest)
  }

  /** Whether a member holds all of an image; `undefined` when its summary does not tell. */
  holdsThere(peer: PeerView, manifest: Digest): boolean | undefined {
    const { beat } = peer
    if (peer.hold === 'none') return false
    if (beat === undefined || peer.state !== 'live') return undefined
    const sequence = this.#roots.get(beat.caughtUp)
    if (sequence !== undefined) {
      this.#covered.set(peer.id, Math.max(sequence, this.#covered.get(peer.id) ?? 0))
    }
    const covered = this.#covered.get(peer.id)
    if (covered === undefined || this.#inventory.linkedAt(manifest) > covered) return undefined
    if (beat.missingCount === 0) return true
    const missing = new Set(beat.missing)
    for (const digest of this.#inventory.graph.reach(manifest)) {
      if (missing.has(digest)) return false
    }
    return beat.missingCount > beat.missing.length ? undefined : true
  }

  /** How many live members, this node included, are known to hold all of an image. */
  count(manifest: Digest): number {
    const elsewhere = this.#mesh.peers().filter(peer => this.holdsThere(peer, manifest) === true)
    return elsewhere.length + (this.holdsHere(manifest) ? 1 : 0)
  }

  #remember(): void {
    const { hash } = this.#records.root()
    this.#roots.delete(hash)
    this.#roots.set(hash, this.#records.sequence())
    if (this.#roots.size <= MAX_ROOTS) return
    for (const oldest of this.#roots.keys()) {
      this.#roots.delete(oldest)
      break
    }
  }
}
