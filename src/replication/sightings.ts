import type { Digest } from '../digest.ts'

/** Enough for every blob of a few large images in flight; older sightings are forgotten first. */
const MAX_SIGHTINGS = 20_000

/** Who was last heard to hold a blob. A hint for whom to ask first, never a proof. */
export class Sightings {
  readonly #holders = new Map<Digest, Set<string>>()

  add(peer: string, digest: Digest): void {
    const holders = this.#holders.get(digest) ?? new Set<string>()
    holders.add(peer)
    // Re-inserting keeps the map in order of use, so that the first key is the oldest.
    this.#holders.delete(digest)
    this.#holders.set(digest, holders)
    if (this.#holders.size > MAX_SIGHTINGS) {
      for (const oldest of this.#holders.keys()) {
        this.#holders.delete(oldest)
        break
      }
    }
  }

  has(peer: string, digest: Digest): boolean {
    return this.#holders.get(digest)?.has(peer) === true
  }

  remove(peer: string, digest: Digest): void {
    this.#holders.get(digest)?.delete(peer)
  }

  forgetPeer(peer: string): void {
    for (const holders of this.#holders.values()) holders.delete(peer)
  }
}
