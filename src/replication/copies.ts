import type { Digest } from '../digest.ts'
import type { Beat } from '../mesh/beat.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { PeerView } from '../mesh/peer-view.ts'
import type { Inventory } from './inventory.ts'
import type { Roots } from './roots.ts'

type CopiesInventory = Pick<
  Inventory,
  'holdsAll' | 'wholeReach' | 'linkedAt' | 'caughtUp' | 'missing'
>

/**
 * Judges which members hold an image, from the holding summaries in their heartbeats: nobody
 * exchanges lists of what is held. A summary counts for the records that its root covers, so a
 * member is only believed about an image that it is known to have heard of.
 */
export class Copies {
  readonly #mesh: Pick<Mesh, 'peers'>
  readonly #inventory: CopiesInventory
  readonly #roots: Pick<Roots, 'sequenceOf'>
  /** How far in our records each member has caught up, by the process that said so. */
  readonly #covered = new Map<string, { readonly boot: string; readonly sequence: number }>()
  /** The missing list of each heartbeat, made into a set once for all images. */
  readonly #missing = new WeakMap<Beat, ReadonlySet<string>>()

  constructor(options: {
    mesh: Pick<Mesh, 'peers'>
    inventory: CopiesInventory
    roots: Pick<Roots, 'sequenceOf'>
  }) {
    this.#mesh = options.mesh
    this.#inventory = options.inventory
    this.#roots = options.roots
  }

  /** Whether this node holds all of an image. */
  holdsHere(manifest: Digest): boolean {
    return this.#inventory.holdsAll(manifest)
  }

  /** Whether a member holds all of an image; `undefined` when its summary does not tell. */
  holdsThere(peer: PeerView, manifest: Digest): boolean | undefined {
    return this.#holds(peer, manifest, this.#inventory.wholeReach(manifest))
  }

  /** What of an image a member says it misses, as far as it is known here what the image has. */
  missingThere({ beat }: PeerView, manifest: Digest): readonly Digest[] {
    return beat === undefined ? [] : this.#among(manifest, this.#missingSet(beat))
  }

  /** What of an image this node misses. */
  missingHere(manifest: Digest): readonly Digest[] {
    return this.#among(manifest, this.#inventory.missing())
  }

  /** How many live members, this node included, are known to hold all of an image. */
  count(manifest: Digest): number {
    const reach = this.#inventory.wholeReach(manifest)
    const elsewhere = this.#mesh.peers().filter(peer => this.#holds(peer, manifest, reach) === true)
    return elsewhere.length + (this.holdsHere(manifest) ? 1 : 0)
  }

  /** How many other live members are known to lack nothing that should exist now. */
  complete(): number {
    const { sequence } = this.#inventory.caughtUp()
    const complete = this.#mesh.peers().filter(({ state, hold, beat }) => {
      if (state !== 'live' || hold === 'none' || beat === undefined) return false
      return beat.missingCount === 0 && (this.#coveredBy(beat) ?? -1) >= sequence
    })
    return complete.length
  }

  /** @param reach unknown while the manifest has not been read here; who lacks nothing holds it */
  #holds(
    peer: PeerView,
    manifest: Digest,
    reach: ReadonlySet<Digest> | undefined
  ): boolean | undefined {
    const { beat } = peer
    if (peer.hold === 'none') return false
    if (beat === undefined || peer.state !== 'live') return undefined
    const covered = this.#coveredBy(beat)
    if (covered === undefined) return undefined
    const named = reach ?? [manifest]
    for (const digest of named) if (this.#inventory.linkedAt(digest) > covered) return undefined
    if (beat.missingCount === 0) return true
    const missing = this.#missingSet(beat)
    for (const digest of named) if (missing.has(digest)) return false
    const isListed = beat.missingCount === beat.missing.length
    return reach !== undefined && isListed ? true : undefined
  }

  #among(manifest: Digest, missing: { has(digest: Digest): boolean }): readonly Digest[] {
    const named = this.#inventory.wholeReach(manifest) ?? [manifest]
    return [...named].filter(digest => missing.has(digest))
  }

  #missingSet(beat: Beat): ReadonlySet<string> {
    const missing = this.#missing.get(beat) ?? new Set(beat.missing)
    this.#missing.set(beat, missing)
    return missing
  }

  /** A process only ever learns more; one that started anew may have lost all that it knew. */
  #coveredBy({ id, boot, caughtUp }: Beat): number | undefined {
    const sequence = this.#roots.sequenceOf(caughtUp)
    const before = this.#covered.get(id)
    const known = before?.boot === boot ? before.sequence : undefined
    if (sequence === undefined) return known
    const furthest = Math.max(sequence, known ?? 0)
    this.#covered.set(id, { boot, sequence: furthest })
    return furthest
  }
}
