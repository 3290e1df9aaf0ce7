import type { Readable } from 'node:stream'
import type { Digest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import { MAX_MANIFEST_BYTES, type ParsedManifest } from '../manifest.ts'
import type { Records } from '../records/records.ts'
import type { Blobs } from '../store/blobs.ts'
import type { ByteRange } from '../store/range-stream.ts'
import type { Uploads } from '../store/uploads.ts'
import type { Cluster } from './cluster.ts'
import type { DiskWatch } from './disk-space.ts'
import type { Downloads } from './downloads.ts'
import type { Inventory } from './inventory.ts'

/** How long an unknown name is asked of the live members before it is called unknown. */
const ASK_TIMEOUT_MS = 300
/** How long a pushed manifest's blobs are looked for elsewhere before the push is refused. */
const LOCATE_TIMEOUT_MS = 2_000
/** How long a pushed or mounted blob is kept for the manifest that is to name it. */
const LEASE_TTL_MS = 24 * 60 * 60 * 1000
/** What a client is asked to wait when the answer may be another one soon. */
const RETRY_AFTER_SECONDS = 1

export interface ContentOptions {
  readonly blobs: Blobs
  readonly uploads: Uploads
  readonly records: Records
  readonly inventory: Inventory
  readonly downloads: Downloads
  readonly cluster: Cluster
  readonly disk: DiskWatch
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
  readonly #downloads: Downloads
  readonly #cluster: Cluster
  readonly #disk: DiskWatch

  constructor(options: ContentOptions) {
    this.#blobs = options.blobs
    this.#uploads = options.uploads
    this.#records = options.records
    this.#inventory = options.inventory
    this.#downloads = options.downloads
    this.#cluster = options.cluster
    this.#disk = options.disk
  }

  async blob(repository: string, digest: Digest, signal: AbortSignal) {
    await this.#knowIf(() => this.#inventory.graph.isVisible(repository, digest), digest)
    if (!this.#inventory.graph.isVisible(repository, digest)) return undefined
    return this.#held(digest) ?? (await this.#streamed(digest, signal))
  }

  async hasBlob(repository: string, digest: Digest, _signal: AbortSignal) {
    const { graph } = this.#inventory
    if (!graph.isVisible(repository, digest)) await this.#cluster.catchUp(ASK_TIMEOUT_MS)
    if (!graph.isVisible(repository, digest)) return undefined
    const stat = this.#blobs.stat(digest)
    if (stat !== undefined) return stat
    const { held } = await this.#cluster.locate([digest], ASK_TIMEOUT_MS)
    const sizeBytes = held.get(digest)
    return sizeBytes === undefined ? undefined : { sizeBytes }
  }

  async manifest(repository: string, reference: string, signal: AbortSignal) {
    const link = await this.#resolve(repository, reference)
    if (link === undefined) return undefined
    const bytes = await this.#manifestBytes(link.digest, signal)
    return bytes && { digest: link.digest, mediaType: link.mediaType, bytes }
  }

  async headManifest(repository: string, reference: string, signal: AbortSignal) {
    const found = await this.manifest(repository, reference, signal)
    if (found === undefined) return undefined
    await this.#inventory.settled()
    const absent = [...this.#inventory.graph.reach(found.digest)].filter(
      digest => this.#blobs.stat(digest) === undefined
    )
    if (absent.length === 0) return found
    const { held } = await this.#cluster.locate(absent, ASK_TIMEOUT_MS)
    return absent.every(digest => held.has(digest)) ? found : undefined
  }

  async putManifest(
    repository: string,
    reference: string,
    manifest: ParsedManifest,
    _signal: AbortSignal
  ): Promise<{ warnings: readonly string[] }> {
    if (this.#cluster.mustNotWrite()) {
      throw unavailable(
        'this node is still catching up with the cluster and takes no manifests yet'
      )
    }
    this.#refuseWhenFull()
    await this.#requireReferences(repository, manifest)
    await this.#blobs.put(manifest.bytes, manifest.digest)
    const { digest, mediaType } = manifest
    const link = {
      kind: 'link' as const,
      repository,
      digest,
      mediaType,
      sizeBytes: manifest.bytes.length
    }
    const tag = { kind: 'tag' as const, repository, tag: reference, digest }
    await this.#records.write(isDigest(reference) ? [link] : [link, tag])
    await this.#inventory.settled()
    return { warnings: [] }
  }

  async tags(repository: string, page: Page): Promise<readonly string[] | undefined> {
    await this.#catchUpUnlessReady()
    if (!(await this.#records.hasRepository(repository))) {
      await this.#knowIf(() => this.#records.hasRepository(repository), repository)
      if (!(await this.#records.hasRepository(repository))) return undefined
    }
    return this.#records.tags(repository, page)
  }

  async repositories(page: Page): Promise<readonly string[]> {
    await this.#catchUpUnlessReady()
    return this.#records.repositories(page)
  }

  async mount(repository: string, digest: Digest, from: string | undefined): Promise<boolean> {
    const { graph } = this.#inventory
    const isVisible = from === undefined ? graph.isWanted(digest) : graph.isVisible(from, digest)
    if (!isVisible) return false
    const sizeBytes =
      this.#blobs.stat(digest)?.sizeBytes ??
      (await this.#cluster.locate([digest], ASK_TIMEOUT_MS)).held.get(digest)
    if (sizeBytes === undefined) return false
    await this.#lease(repository, digest, sizeBytes)
    return true
  }

  async createUpload(repository: string) {
    this.#refuseWhenFull()
    return this.#uploads.create(repository)
  }

  async upload(repository: string, id: string) {
    return this.#uploads.get(repository, id)
  }

  async appendUpload(
    repository: string,
    id: string,
    body: AsyncIterable<Uint8Array>,
    options: { readonly start?: number; readonly lengthBytes?: number }
  ) {
    await this.#uploads.append(this.#uploads.get(repository, id), body, options)
    return this.#uploads.get(repository, id)
  }

  async finishUpload(repository: string, id: string, digest: Digest): Promise<void> {
    const { sizeBytes } = await this.#uploads.finish(this.#uploads.get(repository, id), digest)
    await this.#lease(repository, digest, sizeBytes)
  }

  async cancelUpload(repository: string, id: string): Promise<void> {
    await this.#uploads.cancel(this.#uploads.get(repository, id))
  }

  #held(digest: Digest) {
    const stat = this.#blobs.stat(digest)
    if (stat === undefined) return undefined
    return {
      ...stat,
      open: (range?: ByteRange): Promise<Readable> => this.#blobs.read(digest, range)
    }
  }

  /** A blob that comes from a peer: it can be read while it is being stored. */
  async #streamed(digest: Digest, signal: AbortSignal) {
    const download = this.#downloads.start(digest)
    try {
      const { sizeBytes } = await aborted(download.opened, signal)
      return {
        sizeBytes,
        open: async (range?: ByteRange): Promise<Readable> =>
          this.#held(digest)?.open(range) ?? download.follow(sizeBytes, range)
      }
    } catch (error) {
      const held = this.#held(digest)
      if (held !== undefined) return held
      if (isCode(error, 'BLOB_UNKNOWN') && !this.#cluster.mayReturn()) return undefined
      if (isCode(error, 'BLOB_UNKNOWN') || isCode(error, 'PEER_FAILED')) {
        throw unavailable(`${digest} should exist, but no reachable node can give it now`, error)
      }
      throw error
    }
  }

  async #manifestBytes(digest: Digest, signal: AbortSignal): Promise<Buffer | undefined> {
    if (this.#blobs.stat(digest) === undefined) {
      const streamed = await this.#streamed(digest, signal)
      if (streamed === undefined) return undefined
      await aborted(this.#downloads.get(digest)?.done ?? Promise.resolve(), signal)
    }
    return this.#blobs.bytes(digest, MAX_MANIFEST_BYTES)
  }

  async #resolve(repository: string, reference: string) {
    await this.#catchUpUnlessReady()
    const find = async () => {
      if (isDigest(reference)) return this.#records.link(repository, reference)
      const tag = await this.#records.tag(repository, reference)
      return tag && this.#records.link(repository, tag.digest)
    }
    const known = await find()
    if (known !== undefined) return known
    await this.#knowIf(async () => (await find()) !== undefined, reference)
    return find()
  }

  /**
   * Asks the live members about a name that is not known here. Returns once it is known, or is
   * surely unknown; throws `UNAVAILABLE` before the first catch-up, or when a member stays silent.
   */
  async #knowIf(isKnown: () => boolean | Promise<boolean>, what: string): Promise<void> {
    if (await isKnown()) return
    const sure = await this.#cluster.catchUp(ASK_TIMEOUT_MS)
    if (sure || (await isKnown())) return
    throw unavailable(`${what} is not known here, and not every live member has answered yet`)
  }

  /** P2 and P4: a node that may be behind asks first, then answers with what it has. */
  async #catchUpUnlessReady(): Promise<void> {
    if (this.#cluster.mayBeBehind()) await this.#cluster.catchUp(ASK_TIMEOUT_MS)
  }

  async #requireReferences(repository: string, manifest: ParsedManifest): Promise<void> {
    const needed = manifest.references.filter(({ absence }) => absence === undefined)
    const { graph } = this.#inventory
    const isHidden = ({ digest }: { digest: Digest }) => !graph.isVisible(repository, digest)
    if (needed.some(isHidden)) await this.#cluster.catchUp(LOCATE_TIMEOUT_MS)
    const unknown = needed.filter(isHidden)
    const elsewhere = needed.filter(({ digest }) => this.#blobs.stat(digest) === undefined)
    if (elsewhere.length > 0) {
      const digests = elsewhere.map(({ digest }) => digest)
      const { held } = await this.#cluster.locate(digests, LOCATE_TIMEOUT_MS)
      unknown.push(...elsewhere.filter(each => !held.has(each.digest) && !isHidden(each)))
    }
    if (unknown.length === 0) return
    const digests = unknown.map(({ digest }) => digest)
    throw new StarlingError(
      'MANIFEST_BLOB_UNKNOWN',
      `the manifest names what ${repository} does not have: ${digests.slice(0, 3).join(', ')}`,
      { detail: digests }
    )
  }

  async #lease(repository: string, digest: Digest, sizeBytes: number): Promise<void> {
    await this.#records.write([
      { kind: 'lease', repository, digest, sizeBytes, ttlMs: LEASE_TTL_MS }
    ])
    await this.#inventory.settled()
  }

  #refuseWhenFull(): void {
    const { state, usedBytes, limitBytes } = this.#disk.space()
    if (state === 'ok') return
    throw new StarlingError(
      'DISK_FULL',
      `the disk of this node is ${state}: ${usedBytes} bytes used, pushes stop above ${limitBytes} (--max-disk)`
    )
  }
}

function isDigest(reference: string): reference is Digest {
  return reference.includes(':')
}

function unavailable(message: string, cause?: unknown): StarlingError {
  return new StarlingError('UNAVAILABLE', message, {
    cause,
    retryAfterSeconds: RETRY_AFTER_SECONDS
  })
}

/** Waits for a promise no longer than the signal allows. */
function aborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise: abort, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  return Promise.race([promise, abort]).finally(() => signal.removeEventListener('abort', onAbort))
}
