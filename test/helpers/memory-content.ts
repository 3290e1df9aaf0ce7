import { Readable } from 'node:stream'
import { algorithmOf, type Digest, digestOf } from '../../src/digest.ts'
import { StarlingError } from '../../src/errors.ts'
import { type ParsedManifest, parseStoredManifest } from '../../src/manifest.ts'
import type {
  Acknowledged,
  BlobContent,
  Content,
  ManifestContent,
  Page,
  ReferrerDescriptor,
  UploadSession
} from '../../src/registry/content.ts'
import { isDigest, type Repository, type Tag } from '../../src/registry/names.ts'

interface MemorySession {
  readonly repository: Repository
  readonly owner: string
  chunks: Uint8Array[]
  offset: number
  writing: boolean
}

/**
 * The in-memory twin of what the daemon serves: the same contract, no disk, no peers. Fields are
 * open, so that a test can look at what was stored and put a fault in.
 */
export class MemoryContent implements Content {
  readonly blobs = new Map<Digest, Buffer>()
  readonly manifests = new Map<string, ManifestContent>()
  readonly tagged = new Map<string, Digest>()
  readonly sessions = new Map<string, MemorySession>()
  /** What the next puts of a manifest are acknowledged with. */
  warnings: readonly string[] = []
  /** When set, reads fail with it, as when the holders are away. */
  fault: Error | undefined
  #lastSession = 0

  async blob(_repository: Repository, digest: Digest): Promise<BlobContent | undefined> {
    if (this.fault !== undefined) throw this.fault
    const bytes = this.blobs.get(digest)
    return bytes && { sizeBytes: bytes.length, open: async range => this.open(bytes, range) }
  }

  async hasBlob(
    _repository: Repository,
    digest: Digest
  ): Promise<{ readonly sizeBytes: number } | undefined> {
    const bytes = this.blobs.get(digest)
    return bytes && { sizeBytes: bytes.length }
  }

  /** Replaced by tests that want a slow, short or failing stream. */
  open(bytes: Buffer, range?: { start: number; end: number }): Readable {
    return Readable.from([bytes.subarray(range?.start, range?.end)].filter(part => part.length > 0))
  }

  async manifest(
    repository: Repository,
    reference: Digest | Tag
  ): Promise<ManifestContent | undefined> {
    if (this.fault !== undefined) throw this.fault
    const digest = isDigest(reference) ? reference : this.tagged.get(`${repository}:${reference}`)
    return this.manifests.get(`${repository}@${digest}`)
  }

  headManifest(
    repository: Repository,
    reference: Digest | Tag
  ): Promise<ManifestContent | undefined> {
    return this.manifest(repository, reference)
  }

  async putManifest(
    repository: Repository,
    tags: readonly Tag[],
    manifest: ParsedManifest
  ): Promise<Acknowledged> {
    const missing = manifest.references
      .filter(({ absence, digest }) => absence === undefined && !this.blobs.has(digest))
      .map(({ digest }) => digest)
    if (missing.length > 0) {
      throw new StarlingError('MANIFEST_BLOB_UNKNOWN', 'the manifest names unknown blobs', {
        detail: missing
      })
    }
    const { digest, mediaType, bytes } = manifest
    this.manifests.set(`${repository}@${digest}`, { digest, mediaType, bytes })
    for (const tag of tags) this.tagged.set(`${repository}:${tag}`, digest)
    return { warnings: this.warnings }
  }

  async deleteTag(repository: Repository, tag: Tag): Promise<Acknowledged | undefined> {
    return this.tagged.delete(`${repository}:${tag}`) ? { warnings: this.warnings } : undefined
  }

  async deleteManifest(repository: Repository, digest: Digest): Promise<Acknowledged | undefined> {
    for (const [key, target] of [...this.tagged]) {
      if (target === digest && key.startsWith(`${repository}:`)) this.tagged.delete(key)
    }
    const deleted = this.manifests.delete(`${repository}@${digest}`)
    return deleted ? { warnings: this.warnings } : undefined
  }

  async deleteBlob(repository: Repository, digest: Digest): Promise<Acknowledged | undefined> {
    for (const { references } of this.#manifestsOf(repository)) {
      if (references.some(each => each.digest === digest)) {
        throw new StarlingError('UNSUPPORTED', 'a manifest needs the blob')
      }
    }
    return this.blobs.delete(digest) ? { warnings: this.warnings } : undefined
  }

  async *referrers(
    repository: Repository,
    subject: Digest,
    after: string | undefined
  ): AsyncGenerator<ReferrerDescriptor> {
    const found = this.#manifestsOf(repository)
      .filter(manifest => manifest.subject === subject)
      .sort((a, b) => (a.digest < b.digest ? -1 : 1))
    for (const { digest, mediaType, bytes, artifactType, annotations } of found) {
      if (after !== undefined && digest <= after) continue
      yield {
        ...{ mediaType, digest, size: bytes.length },
        ...(artifactType !== undefined && { artifactType }),
        ...(annotations !== undefined && { annotations })
      }
    }
  }

  #manifestsOf(repository: Repository): ParsedManifest[] {
    return [...this.manifests]
      .filter(([key]) => key.startsWith(`${repository}@`))
      .map(([, manifest]) => ({
        ...manifest,
        ...parseStoredManifest(manifest.bytes, manifest.mediaType)
      }))
  }

  async tags(repository: Repository, page: Page): Promise<readonly string[] | undefined> {
    if (!(await this.repositories({ limit: Number.POSITIVE_INFINITY })).includes(repository)) {
      return undefined
    }
    const prefix = `${repository}:`
    const tags = [...this.tagged.keys()].filter(key => key.startsWith(prefix))
    return cut(
      tags.map(key => key.slice(prefix.length)),
      page
    )
  }

  async repositories(page: Page): Promise<readonly string[]> {
    const names = [...this.manifests.keys()].map(key => key.slice(0, key.indexOf('@')))
    return cut([...new Set(names)], page)
  }

  async mount(_repository: Repository, digest: Digest): Promise<boolean> {
    return this.blobs.has(digest)
  }

  async createUpload(
    repository: Repository,
    { owner }: { readonly owner: string }
  ): Promise<UploadSession> {
    const id = `session-${++this.#lastSession}`
    this.sessions.set(id, { repository, owner, chunks: [], offset: 0, writing: false })
    return { id, offset: 0, owner }
  }

  async upload(repository: Repository, id: string): Promise<UploadSession> {
    const { offset, owner } = this.#session(repository, id)
    return { id, offset, owner }
  }

  async appendUpload(
    repository: Repository,
    id: string,
    body: AsyncIterable<Uint8Array>,
    { start, lengthBytes }: { readonly start?: number; readonly lengthBytes?: number }
  ): Promise<UploadSession> {
    const session = this.#session(repository, id)
    if (session.writing) throw new StarlingError('BLOB_UPLOAD_INVALID', 'another writer is at work')
    if (start !== undefined && start !== session.offset) {
      throw new StarlingError('RANGE_INVALID', `the next byte is ${session.offset}`)
    }
    session.writing = true
    try {
      await this.#write(session, body, lengthBytes)
    } finally {
      session.writing = false
    }
    return { id, offset: session.offset, owner: session.owner }
  }

  async finishUpload(repository: Repository, id: string, digest: Digest): Promise<void> {
    const bytes = Buffer.concat(this.#session(repository, id).chunks)
    this.sessions.delete(id)
    if (digestOf(bytes, algorithmOf(digest)) !== digest) {
      throw new StarlingError('DIGEST_INVALID', 'the bytes are not of this digest')
    }
    this.blobs.set(digest, bytes)
  }

  async cancelUpload(repository: Repository, id: string): Promise<void> {
    this.#session(repository, id)
    this.sessions.delete(id)
  }

  #session(repository: Repository, id: string): MemorySession {
    const session = this.sessions.get(id)
    if (session?.repository !== repository) {
      throw new StarlingError('BLOB_UPLOAD_UNKNOWN', 'there is no such upload')
    }
    return session
  }

  async #write(
    session: MemorySession,
    body: AsyncIterable<Uint8Array>,
    lengthBytes: number | undefined
  ): Promise<void> {
    let writtenBytes = 0
    for await (const chunk of body) {
      const room = (lengthBytes ?? Number.POSITIVE_INFINITY) - writtenBytes
      const kept = chunk.subarray(0, Math.min(chunk.length, room))
      await this.store(session, kept)
      writtenBytes += kept.length
      if (chunk.length > room) throw wrongLength()
    }
    if (lengthBytes !== undefined && writtenBytes < lengthBytes) throw wrongLength()
  }

  /** Replaced by tests that want a slow or failing disk. */
  async store(session: MemorySession, chunk: Uint8Array): Promise<void> {
    session.chunks.push(chunk)
    session.offset += chunk.length
  }
}

function cut(names: string[], { after, limit }: Page): string[] {
  return names
    .sort()
    .filter(name => after === undefined || name > after)
    .slice(0, limit)
}

function wrongLength(): StarlingError {
  return new StarlingError('SIZE_INVALID', 'the body is not as long as was said')
}
