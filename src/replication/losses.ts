import type { Digest } from '../digest.ts'
import type { Mesh } from '../mesh/mesh.ts'
import type { Records } from '../records/records.ts'
import type { Inventory } from './inventory.ts'
import type { Replicator } from './replicator.ts'

/** What is missing for good is rarely much, and enough is named of it to act. */
const MAX_BLOBS = 1_000
/** Thousands of images may share what is lost, and the status is asked for every second. */
const MAX_IMAGES = 1_000

/** An image that no reachable node can give whole. */
export interface LostImage {
  readonly repository: string
  /** `null` when no tag points at it. */
  readonly tag: string | null
  readonly digest: Digest
  /** What nobody has. */
  readonly blobs: readonly Digest[]
}

export interface LossesOptions {
  readonly inventory: Pick<Inventory, 'graph' | 'missing'>
  readonly records: Pick<Records, 'tagsAll'>
  readonly replicator: Pick<Replicator, 'hasFailed'>
  readonly mesh: Pick<Mesh, 'peers'>
  /** Whether this node takes copies: without room it asks nobody. */
  readonly hasRoom: () => boolean
}

/** Says by name what is lost: what should exist here and nobody in reach has (P7, P4). */
export class Losses {
  readonly #options: LossesOptions

  constructor(options: LossesOptions) {
    this.#options = options
  }

  /** The images that lack something, 1,000 at most, and who is away and may have it. */
  async list(): Promise<{
    readonly images: readonly LostImage[]
    readonly mayHave: readonly string[]
  }> {
    const { inventory, replicator, mesh, hasRoom } = this.#options
    const missing = hasRoom() ? inventory.missing() : new Map<Digest, unknown>()
    const blobs = missing.keys().filter(digest => replicator.hasFailed(digest))
    const lacking = new Map<string, { repository: string; digest: Digest; blobs: Digest[] }>()
    for (const blob of blobs.take(MAX_BLOBS)) {
      for (const { repository, digest } of inventory.graph.imagesWith(blob)) {
        const key = `${repository}@${digest}`
        const image = lacking.get(key) ?? { repository, digest, blobs: [] }
        if (image.blobs.length === 0 && lacking.size >= MAX_IMAGES) continue
        image.blobs.push(blob)
        lacking.set(key, image)
      }
    }
    if (lacking.size === 0) return { images: [], mayHave: [] }
    const away = mesh.peers().filter(({ state, hold }) => state === 'away' && hold === 'all')
    return { images: await this.#named(lacking), mayHave: away.map(({ name }) => name) }
  }

  async #named(
    lacking: ReadonlyMap<string, Omit<LostImage, 'tag'>>
  ): Promise<readonly LostImage[]> {
    const named: LostImage[] = []
    const nameless = new Map(lacking)
    for await (const { repository, tag, digest } of this.#options.records.tagsAll()) {
      const image = lacking.get(`${repository}@${digest}`)
      if (image === undefined) continue
      if (named.length >= MAX_IMAGES) break
      named.push({ ...image, tag })
      nameless.delete(`${repository}@${digest}`)
    }
    for (const image of nameless.values()) named.push({ ...image, tag: null })
    return named.slice(0, MAX_IMAGES)
  }
}
