import type { Clock } from '../clock.ts'
import type { Algorithm, Digest } from '../digest.ts'
import { isCode } from '../errors.ts'
import type { ParsedManifest } from '../manifest.ts'
import type { Applied, Records } from '../records/records.ts'
import type { LinkValue } from '../records/values.ts'
import type { Blobs } from '../store/blobs.ts'
import { Turns } from '../store/turns.ts'
import type { AppendOptions } from '../store/upload-session.ts'
import type { Uploads } from '../store/uploads.ts'
import type { Acknowledgement } from './acknowledgement.ts'
import { Admission, type AdmissionOptions } from './admission.ts'
import { BlobSource } from './blob-source.ts'
import type { Cluster } from './cluster.ts'
import { type Acknowledged, Deletion, tagsOf } from './deletion.ts'
import type { Expected } from './expected.ts'
import type { Intake } from './intake.ts'
import type { Inventory } from './inventory.ts'
import type { Keeper } from './keeper.ts'
import { ASK_TIMEOUT_MS, Lookup } from './lookup.ts'
import { ManifestSource } from './manifest-source.ts'
import type { Passage } from './passage.ts'

export interface ContentOptions extends AdmissionOptions {
  readonly clock: Clock
  readonly uploads: Uploads
  readonly records: Records
  readonly intake: Intake
  readonly passage: Passage
  readonly acknowledgement: Acknowledgement
  readonly keeper: Keeper
  readonly expected: Expected
}

type Page = { readonly after?: string; readonly limit: number }

/**
 * What the registry serves: local files first, then what the mesh can give, streamed through while
 * it is being stored. It follows design section 5 ("Reading") in what is 404 and what is 503.
 */
export class ReplicatedContent {
  readonly #blobs: Blobs
  readonly #uploads: Uploads
  readonly #records: Records
  readonly #inventory: Inventory
  readonly #source: BlobSource
  readonly #cluster: Cluster
  readonly #acknowledgement: Acknowledgement
  readonly #admission: Admission
  readonly #lookup: Lookup
  readonly #manifests: ManifestSource
  readonly #deletion: Deletion
  readonly #keeper: Keeper
  readonly #expected: Expected
  /** By repository, or a tag could be left that points at a manifest deleted meanwhile. */
  readonly #turns = new Turns<string>()

  constructor(options: ContentOptions) {
    this.#blobs = options.blobs
    this.#uploads = options.uploads
    this.#records = options.records
    this.#inventory = options.inventory
    this.#source = new BlobSource(options)
    this.#cluster = options.cluster
    this.#acknowledgement = options.acknowledgement
    this.#admission = new Admission(options)
    this.#lookup = new Lookup(options.cluster)
    this.#keeper = options.keeper
    this.#expected = options.expected
    this.#manifests = new ManifestSource({
      ...options,
      ...{ source: this.#source, lookup: this.#lookup }
    })
    this.#deletion = new Deletion({ ...options, lookup: this.#lookup })
  }

  async blob(repository: string, digest: Digest, signal: AbortSignal) {
    await this.#lookup.settle(() => this.#inventory.graph.isVisible(repository, digest), digest)
    if (!this.#inventory.graph.isVisible(repository, digest)) return undefined
    return this.#source.open(digest, signal)
  }

  async hasBlob(repository: string, digest: Digest, asker: 'pusher' | 'puller') {
    const { graph } = this.#inventory
    if (!graph.isVisible(repository, digest)) await this.#cluster.catchUp(ASK_TIMEOUT_MS)
    if (!graph.isVisible(repository, digest)) {
      const stat = asker === 'pusher' ? this.#blobs.stat(digest) : undefined
      if (stat !== undefined) this.#expected.note(repository, digest, stat.sizeBytes)
      return undefined
    }
    return this.#keeper.pinned([digest], async () => {
      const sizeBytes = await this.#sizeOf(digest)
      if (sizeBytes === undefined) return undefined
      if (asker === 'puller') return { sizeBytes }
      // Whoever asks may be about to push a manifest that names it, and will not upload it then.
      const isKept = await this.#keeper.tryLease(repository, digest, sizeBytes)
      return isKept || graph.isReached(repository, digest) ? { sizeBytes } : undefined
    })
  }

  async manifest(repository: string, reference: string, signal: AbortSignal) {
    return this.#manifests.find(repository, reference, signal)
  }

  async headManifest(repository: string, reference: string, signal: AbortSignal) {
    return this.#manifests.findWhole(repository, reference, signal)
  }

  async putManifest(
    repository: string,
    tags: readonly string[],
    manifest: ParsedManifest,
    signal: AbortSignal
  ): Promise<Acknowledged> {
    this.#admission.requireReady()
    await this.#admission.requireRoom(manifest.bytes.length)
    const { digest, references } = manifest
    const named = references.map(reference => reference.digest)
    const link = await this.#keeper.pinned([digest, ...named], () =>
      this.#link(repository, manifest)
    )
    const image = { repository, tags, digest }
    const owed = await this.#acknowledgement.pushed(link.applied, image, signal)
    // A tag moves only to what can no longer be lost: a push that fails leaves it where it was.
    const tagged = tags.length === 0 ? [] : await this.#tag(link.write, tags)
    return { warnings: [...new Set([...owed, ...(await this.#acknowledgement.known(tagged))])] }
  }

  async deleteTag(repository: string, tag: string): Promise<Acknowledged | undefined> {
    this.#admission.requireReady()
    return this.#turns.take(repository, () => this.#deletion.tag(repository, tag))
  }

  async deleteManifest(repository: string, digest: Digest): Promise<Acknowledged | undefined> {
    this.#admission.requireReady()
    return this.#turns.take(repository, () => this.#deletion.manifest(repository, digest))
  }

  async deleteBlob(repository: string, digest: Digest): Promise<Acknowledged | undefined> {
    return this.#deletion.blob(repository, digest)
  }

  async *referrers(
    repository: string,
    subject: Digest,
    after: string | undefined,
    signal: AbortSignal
  ) {
    await this.#lookup.catchUpUnlessReady()
    await this.#inventory.settled()
    for (const referrer of this.#inventory.graph.referrers(repository, subject)) {
      if (after !== undefined && referrer.digest <= after) continue
      const { digest, mediaType, sizeBytes, artifactType } = referrer
      const annotations =
        referrer.annotations === 'large'
          ? await this.#manifests.annotations(digest, mediaType, signal)
          : referrer.annotations
      yield {
        ...{ mediaType, digest, size: sizeBytes },
        ...(artifactType !== undefined && { artifactType }),
        ...(annotations !== undefined && { annotations })
      }
    }
  }

  async tags(repository: string, page: Page): Promise<readonly string[] | undefined> {
    await this.#lookup.catchUpUnlessReady()
    if (!(await this.#records.hasRepository(repository))) {
      await this.#lookup.settle(() => this.#records.hasRepository(repository), repository)
      if (!(await this.#records.hasRepository(repository))) return undefined
    }
    // A tag can be heard of before its manifest, or be left by two nodes that did not know of each
    // other; clients that walk all tags stop at the first that does not resolve.
    const tags: string[] = []
    if (page.limit <= 0) return tags
    for await (const { tag, digest } of tagsOf(this.#records, repository, page.after)) {
      if (!this.#inventory.graph.isLinked(repository, digest)) continue
      if (tags.push(tag) >= page.limit) break
    }
    return tags
  }

  async repositories(page: Page): Promise<readonly string[]> {
    await this.#lookup.catchUpUnlessReady()
    return this.#records.repositories(page)
  }

  async mount<Name extends string>(
    repository: Name,
    digest: Digest,
    from: Name | undefined,
    mayPull: (from: Name) => boolean
  ): Promise<boolean> {
    const { graph } = this.#inventory
    const isVisible =
      from === undefined
        ? graph.repositoriesOf(digest).some(name => mayPull(name as Name))
        : graph.isVisible(from, digest)
    if (!isVisible) return false
    return this.#keeper.pinned([digest], async () => {
      const sizeBytes = await this.#sizeOf(digest)
      if (sizeBytes === undefined) return false
      return this.#keeper.tryLease(repository, digest, sizeBytes)
    })
  }

  async createUpload(
    repository: string,
    options: { readonly owner: string; readonly algorithm?: Algorithm }
  ) {
    this.#admission.requireStaying()
    await this.#admission.requireRoom()
    return this.#uploads.create(repository, options)
  }

  async upload(repository: string, id: string) {
    return this.#uploads.get(repository, id)
  }

  async appendUpload(
    repository: string,
    id: string,
    body: AsyncIterable<Uint8Array>,
    options: Pick<AppendOptions, 'start' | 'lengthBytes' | 'algorithm' | 'digest'>
  ) {
    const upload = this.#uploads.get(repository, id)
    const room = await this.#admission.promise(options.lengthBytes)
    try {
      const onChunk = (bytes: number) => room.take(bytes)
      await this.#uploads.append(upload, body, { ...options, chunks: 'given', onChunk })
    } finally {
      room.release()
    }
    return this.#uploads.get(repository, id)
  }

  async finishUpload(repository: string, id: string, digest: Digest): Promise<void> {
    await this.#keeper.pinned([digest], async () => {
      const { sizeBytes } = await this.#uploads.finish(this.#uploads.get(repository, id), digest)
      await this.#keeper.lease(repository, digest, sizeBytes)
    })
  }

  async cancelUpload(repository: string, id: string): Promise<void> {
    await this.#uploads.cancel(this.#uploads.get(repository, id))
  }

  /** Stores a manifest, and writes into the records that it is here, and whose tags it has. */
  async #link(repository: string, manifest: ParsedManifest) {
    const absent = await this.#admission.requireReferences(repository, manifest)
    await this.#blobs.put(manifest.bytes, manifest.digest)
    const { digest, mediaType } = manifest
    const write = {
      kind: 'link' as const,
      repository,
      digest,
      mediaType,
      sizeBytes: manifest.bytes.length,
      ...(absent.length > 0 && { absent })
    }
    const applied = await this.#turns.take(repository, () => this.#records.write([write]))
    await this.#inventory.settled()
    return { write, applied }
  }

  /** Whoever deleted the manifest while its copies were made came before this push, not after it. */
  async #tag(link: LinkValue, tags: readonly string[]): Promise<readonly Applied[]> {
    const { repository, digest } = link
    const writes = tags.map(tag => ({ kind: 'tag' as const, repository, tag, digest }))
    const applied = await this.#turns.take(repository, async () => {
      const isLinked = (await this.#records.link(repository, digest)) !== undefined
      return this.#records.write(isLinked ? writes : [link, ...writes])
    })
    await this.#inventory.settled()
    return applied
  }

  /** From here, or from whoever has it. */
  async #sizeOf(digest: Digest): Promise<number | undefined> {
    const stat = await this.#blobs.look(digest).catch((error: unknown) => {
      // A question about a blob has two answers: who is told no sends it.
      if (isCode(error, 'UNAVAILABLE')) return undefined
      throw error
    })
    if (stat !== undefined) return stat.sizeBytes
    return (await this.#cluster.locate([digest], ASK_TIMEOUT_MS)).held.get(digest)
  }
}
