import type { Digest } from '../../src/digest.ts'
import { isCode, StarlingError } from '../../src/errors.ts'
import { decodeRecord } from '../../src/records/record.ts'
import type { Applied } from '../../src/records/records.ts'
import { tagsOf } from '../../src/replication/deletion.ts'
import type { Change, History } from './history.ts'
import type { SimImage } from './images.ts'
import type { SimNode } from './node.ts'
import type { Promises } from './promises.ts'
import type { Simulation } from './simulation.ts'

/** Where a client puts an image. */
export interface Place {
  readonly repository: string
  readonly tag: string
}

/** What clients ask of the nodes. Everything here runs on the node that is asked. */
export class Client {
  readonly #simulation: Simulation
  readonly #history: History
  readonly #promises: Promises

  constructor(simulation: Simulation, history: History, promises: Promises) {
    this.#simulation = simulation
    this.#history = history
    this.#promises = promises
  }

  /** Pushes as clients do: what the node says it has is not uploaded. */
  async push(node: SimNode, place: Place, image: SimImage): Promise<Change> {
    const { repository, tag } = place
    const change = this.#begin(node, 'push', place, image)
    await this.#asked(node, change, async () => {
      for (const { digest, bytes } of image.blobs) {
        const isThere = await node.content.hasBlob(repository, digest, 'pusher')
        if (isThere === undefined) await upload(node, repository, digest, bytes)
      }
      change.replaced = (await node.records.tag(repository, tag))?.digest
      return await node.content.putManifest(repository, [tag], image.manifest, never())
    })
    return change
  }

  async untag(node: SimNode, place: Place, images: ReadonlyMap<Digest, SimImage>): Promise<void> {
    const { repository, tag } = place
    const image = images.get((await node.records.tag(repository, tag))?.digest ?? noDigest)
    if (image === undefined) return
    const change = this.#begin(node, 'untag', place, image)
    change.replaced = image.digest
    await this.#asked(node, change, () => node.content.deleteTag(repository, tag))
  }

  async unlink(node: SimNode, place: Place, images: ReadonlyMap<Digest, SimImage>): Promise<void> {
    const { repository, tag } = place
    const image = images.get((await node.records.tag(repository, tag))?.digest ?? noDigest)
    if (image === undefined) return
    const change = this.#begin(node, 'unlink', place, image)
    change.replaced = image.digest
    const tags = await Array.fromAsync(tagsOf(node.records, repository))
    change.tags = tags.filter(each => each.digest === image.digest).map(each => each.tag)
    await this.#asked(node, change, () => node.content.deleteManifest(repository, image.digest))
  }

  /** Asks for a tag, and holds the answer against what has been acknowledged before. */
  async read(node: SimNode, { repository, tag }: Place): Promise<void> {
    const beganMs = this.#simulation.world.nowMs
    try {
      const found = await node.content.manifest(repository, tag, never())
      this.#promises.answered(node, { repository, tag }, found?.digest, beganMs)
    } catch (error) {
      if (!(error instanceof StarlingError)) throw error
    }
  }

  #begin(node: SimNode, kind: Change['kind'], { repository, tag }: Place, image: SimImage): Change {
    const beganMs = this.#simulation.world.nowMs
    return this.#history.begin({ kind, repository, tag, image, boot: node.mesh.boot, beganMs })
  }

  async #asked(
    node: SimNode,
    change: Change,
    ask: () => Promise<{ warnings: readonly string[] } | undefined>
  ): Promise<void> {
    const { world } = this.#simulation
    const stopListening = node.records.onApplied(applied => keepWritten(change, applied))
    try {
      const answer = await ask()
      change.endedMs = world.nowMs
      // Somebody else has deleted it meanwhile: this delete has done nothing.
      if (answer === undefined) return
      change.outcome = answer.warnings.length === 0 ? 'acknowledged' : 'warned'
      if (change.outcome === 'acknowledged') this.#promises.acknowledged(node, change)
    } catch (error) {
      change.endedMs = world.nowMs
      if (!(error instanceof StarlingError)) throw error
      // What a client asks for here is always sound.
      if (isCode(error, 'RECORD_INVALID')) this.#promises.breaks(`refused: ${error.message}`)
      if (isCode(error, 'MANIFEST_BLOB_UNKNOWN')) this.#promises.refused(change, error)
    } finally {
      stopListening()
    }
  }
}

const noDigest = '' as Digest

/** Clients here have all the time there is. */
function never(): AbortSignal {
  return new AbortController().signal
}

async function upload(
  node: SimNode,
  repository: string,
  digest: Digest,
  bytes: Buffer
): Promise<void> {
  const { content } = node
  const { id } = await content.createUpload(repository, { owner: 'client' })
  await content.appendUpload(repository, id, one(bytes), {})
  await content.finishUpload(repository, id, digest)
}

async function* one(bytes: Buffer): AsyncGenerator<Buffer, void> {
  yield bytes
}

/** What the node writes meanwhile and is of this change, as far as can be told from outside. */
function keepWritten(change: Change, applied: readonly Applied[]): void {
  const { kind, repository, tag, image } = change
  for (const { local, bytes, value, before } of applied) {
    const said = kind === 'push' ? value : before
    const isGone = kind === 'push' || value === undefined
    if (!local || !isGone || (said?.kind !== 'tag' && said?.kind !== 'link')) continue
    if (said.repository !== repository || said.digest !== image.digest) continue
    const isMeant = said.kind === 'link' ? kind !== 'untag' : said.tag === tag || kind === 'unlink'
    if (isMeant) change.written.push(decodeRecord(bytes))
  }
}
