import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { MAX_WRITES } from '../records/plans.ts'
import type { Applied, Records } from '../records/records.ts'
import type { TagValue } from '../records/values.ts'
import type { Acknowledgement } from './acknowledgement.ts'
import type { Inventory } from './inventory.ts'
import type { Lookup } from './lookup.ts'

/** What of the promise that goes with a write is still owed. */
export interface Acknowledged {
  readonly warnings: readonly string[]
}

/**
 * Takes tags, manifests and blobs out of repositories. The bytes stay until they are collected; what
 * ends at once is that they can be seen. Each is `undefined` when there was nothing to delete.
 */
export class Deletion {
  readonly #records: Records
  readonly #inventory: Inventory
  readonly #lookup: Lookup
  readonly #acknowledgement: Acknowledgement

  constructor(options: {
    readonly records: Records
    readonly inventory: Inventory
    readonly lookup: Lookup
    readonly acknowledgement: Acknowledgement
  }) {
    this.#records = options.records
    this.#inventory = options.inventory
    this.#lookup = options.lookup
    this.#acknowledgement = options.acknowledgement
  }

  /** The manifest stays. */
  async tag(repository: string, tag: string): Promise<Acknowledged | undefined> {
    const isKnown = async () => (await this.#records.tag(repository, tag)) !== undefined
    await this.#lookup.settle(isKnown, tag)
    return this.#told(await this.#records.write([{ kind: 'untag', repository, tag }]))
  }

  /** All tags that point at the manifest go with it. */
  async manifest(repository: string, digest: Digest): Promise<Acknowledged | undefined> {
    const isLinked = async () => (await this.#records.link(repository, digest)) !== undefined
    await this.#lookup.settle(isLinked, digest)
    if (!(await isLinked())) return undefined
    const untags = []
    for await (const { tag, digest: target } of tagsOf(this.#records, repository)) {
      // A tag that somebody moves meanwhile stays where it was moved to.
      if (target === digest)
        untags.push({ kind: 'untag' as const, repository, tag, pointingAt: digest })
    }
    const applied: Applied[] = []
    // All at once where they fit; else the link goes last, so that a tag may vanish, never dangle.
    while (untags.length >= MAX_WRITES) {
      applied.push(...(await this.#records.write(untags.splice(0, MAX_WRITES))))
    }
    const last = [...untags, { kind: 'unlink' as const, repository, digest }]
    applied.push(...(await this.#records.write(last)))
    return this.#told(applied)
  }

  /** Throws `UNSUPPORTED` while a manifest of the repository needs the blob. */
  async blob(repository: string, digest: Digest): Promise<Acknowledged | undefined> {
    const { graph } = this.#inventory
    await this.#lookup.settle(() => graph.isVisible(repository, digest), digest)
    if (graph.isReached(repository, digest)) {
      throw new StarlingError(
        'UNSUPPORTED',
        `a manifest of ${repository} needs ${digest}: delete that first`
      )
    }
    return this.#told(await this.#records.write([{ kind: 'release', repository, digest }]))
  }

  async #told(applied: readonly Applied[]): Promise<Acknowledged | undefined> {
    if (applied.length === 0) return undefined
    await this.#inventory.settled()
    return { warnings: await this.#acknowledgement.known(applied) }
  }
}

/** The tags of a repository in byte order, after one of them. */
export async function* tagsOf(
  records: Records,
  repository: string,
  after = ''
): AsyncGenerator<TagValue, void> {
  for await (const value of records.tagsAll({ repository, tag: after })) {
    if (value.repository !== repository) return
    yield value
  }
}
