import { posix } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import {
  algorithmOf,
  type Digest,
  digestOf,
  finishDigest,
  startDigest,
  tryDigest
} from '../../digest.ts'
import { isCode, StarlingError } from '../../errors.ts'
import { MAX_MANIFEST_BYTES } from '../../manifest.ts'
import { nameImages } from '../image-names.ts'
import type { ImageSource, LayoutImage } from '../image-source.ts'
import { parseIndex } from '../layout-index.ts'
import { parseReference } from '../reference.ts'
import type { RegistryClient } from '../registry-client.ts'
import type { RepositoryClient } from '../repository-client.ts'
import { compressionOf, MAGIC_BYTES } from './compression.ts'
import { dockerImages, type StoredFile } from './docker-images.ts'
import { type ArchiveEntry, damaged, entriesOf } from './entries.ts'
import { peek } from './peek.ts'

/** Manifests and configs of thousands of images; what is more is none. */
const MAX_KEPT_BYTES = 64 * 1024 * 1024

/**
 * Where blobs wait that come before the archive has said what its images are called. Nothing is
 * ever linked there, so that it is in no list, and what is left in it goes with its lease.
 */
const WAITING_ROOM = 'starling-import'

const BLOB = /^(?:.+\/)?blobs\/(sha256|sha512)\/([0-9a-f]+)$/
/** Crane writes configs under their digest. */
const DOCUMENT = /\.json$|(?:^|\/)sha256:[0-9a-f]{64}$/
/** As docker, skopeo, podman and crane call layers in archives without an OCI layout. */
const LAYER = /(?:^|\/)(?:layer|([0-9a-f]{64}))\.tar(?:\.gz)?$/

export interface IntakeOptions {
  readonly registry: RegistryClient
  /** What the archive is called in messages. */
  readonly where: string
  /** The name of its only image, or the repository of all, if the user says so. */
  readonly as: string | undefined
  readonly signal: AbortSignal
}

/**
 * Reads an archive of images once, from front to back, and sends its blobs to the registry as they
 * come: no layer is ever held here, on disk or in memory. Only manifests and configs are kept, to be
 * pushed when all is there.
 *
 * @returns the images, whose blobs are in the registry already
 * @throws what {@link entriesOf} does, and what the registry refuses a blob with
 */
export async function takeIn(
  bytes: AsyncIterable<Buffer>,
  options: IntakeOptions
): Promise<ImageSource> {
  const intake = new Intake(options)
  for await (const entry of entriesOf(bytes, options.where)) await intake.take(entry)
  return intake.finish()
}

class Intake {
  readonly #options: IntakeOptions
  readonly #links = new Map<string, string>()
  readonly #documents = new Map<string, Buffer>()
  readonly #files = new Map<string, StoredFile>()
  /** Manifests and configs. */
  readonly #kept = new Map<Digest, Buffer>()
  /** What is in the registry, and how much was sent for it that no image has been told of. */
  readonly #sent = new Map<Digest, number>()
  #keptBytes = 0
  #home: RepositoryClient | undefined

  constructor(options: IntakeOptions) {
    this.#options = options
  }

  async take(entry: ArchiveEntry): Promise<void> {
    if (entry.kind === 'link') {
      this.#links.set(entry.name, entry.target)
      return
    }
    const { name, sizeBytes, body } = entry
    const digest = blobDigest(name)
    if (digest !== undefined) return this.#takeBlob(name, digest, sizeBytes, body)
    if (DOCUMENT.test(name) && sizeBytes <= MAX_MANIFEST_BYTES) {
      if (this.#documents.has(name)) throw damaged(this.#options.where, `${name} is in it twice`)
      this.#documents.set(name, this.#counted(await buffer(body)))
    } else if (LAYER.test(name)) await this.#takeLayer(name, sizeBytes, body)
  }

  finish(): ImageSource {
    const { where } = this.#options
    const index = this.#shallowest('index.json')
    const list = this.#shallowest('manifest.json')
    if (index !== undefined) return this.#source(parseIndex(this.#text(index), where))
    if (list === undefined) {
      const expected = 'neither an index.json (OCI layout) nor a manifest.json (docker save)'
      throw new StarlingError('CONFIG_INVALID', `${where} holds no images: there is ${expected}`)
    }
    const document = (name: string) =>
      this.#documents.get(name) ?? this.#kept.get(blobDigest(name) ?? ('' as Digest))
    const contents = { where, files: this.#files, links: this.#links, document }
    const { images, blobs } = dockerImages(contents, list)
    for (const [digest, bytes] of blobs) this.#kept.set(digest, bytes)
    return this.#source(images)
  }

  #source(images: readonly LayoutImage[]): ImageSource {
    return {
      where: this.#options.where,
      images,
      manifest: async digest => this.#kept.get(digest),
      give: (digest, to) => this.#give(digest, to)
    }
  }

  async #give(digest: Digest, to: RepositoryClient): Promise<number | undefined> {
    const kept = this.#kept.get(digest)
    const sent = this.#sent.get(digest)
    if (!(await to.hasBlob(digest))) {
      if (kept !== undefined) return to.pushBlob(digest, kept.length, () => readable(kept))
      if (sent === undefined || !(await to.mountBlob(digest))) return undefined
    }
    if (sent !== undefined) this.#sent.set(digest, 0)
    return sent ?? 0
  }

  async #takeBlob(name: string, digest: Digest, sizeBytes: number, body: Readable): Promise<void> {
    if (this.#kept.has(digest) || this.#sent.has(digest)) return
    const { head, whole } = await peek(body, MAGIC_BYTES)
    const stream = Readable.from(whole, { objectMode: false })
    this.#files.set(name, { digest, sizeBytes, compression: compressionOf(head) })
    if (sizeBytes > MAX_MANIFEST_BYTES) return this.#send(digest, sizeBytes, stream)
    const bytes = await buffer(stream)
    if (!isWorthKeeping(bytes)) return this.#send(digest, sizeBytes, readable(bytes))
    const came = digestOf(bytes, algorithmOf(digest))
    if (came !== digest) throw damaged(this.#options.where, `${name} is ${came}`)
    this.#kept.set(digest, this.#counted(bytes))
  }

  async #send(digest: Digest, sizeBytes: number, body: Readable): Promise<void> {
    const sent = await this.#atHome(async home =>
      (await home.hasBlob(digest)) ? 0 : home.pushBlob(digest, sizeBytes, () => body)
    ).catch((cause: unknown) => {
      if (!isCode(cause, 'DIGEST_INVALID')) throw cause
      throw damaged(this.#options.where, `it has other bytes under the name of ${digest}`)
    })
    this.#sent.set(digest, sent)
    // Of what is there already the rest is read, for what comes after it.
    for await (const _ of body);
  }

  /** Of a layer without an OCI layout the digest is known when it has gone over. */
  async #takeLayer(name: string, sizeBytes: number, body: Readable): Promise<void> {
    const { head, whole } = await peek(body, MAGIC_BYTES)
    const stream = Readable.from(whole, { objectMode: false })
    const compression = compressionOf(head)
    const claimed = tryDigest(`sha256:${LAYER.exec(name)?.[1]}`)
    if (claimed !== undefined && (await this.#atHome(home => home.hasBlob(claimed)))) {
      this.#files.set(name, { digest: claimed, sizeBytes, compression })
      return this.#send(claimed, sizeBytes, stream)
    }
    const hash = startDigest('sha256')
    const hashed = Readable.from(
      passing(stream, chunk => hash.update(chunk)),
      {
        objectMode: false
      }
    )
    let digest: Digest | undefined
    const named = () => (digest ??= finishDigest('sha256', hash))
    await this.#atHome(home => home.pushUnnamed(sizeBytes, hashed, named))
    this.#files.set(name, { digest: named(), sizeBytes, compression })
    this.#sent.set(named(), sizeBytes)
  }

  /** Who may not push anywhere has to say where to. */
  async #atHome<Result>(task: (home: RepositoryClient) => Promise<Result>): Promise<Result> {
    const { registry, signal } = this.#options
    this.#home ??= registry.repository(this.#homeName(), signal)
    try {
      return await task(this.#home)
    } catch (cause) {
      if (this.#home.name !== WAITING_ROOM || !isCode(cause, 'DENIED')) throw cause
      const message = `${cause.message}; say with --as to which repository the images belong`
      throw new StarlingError('DENIED', message, { cause })
    }
  }

  /** The first repository that is known of; others take the blobs over from there. */
  #homeName(): string {
    const { as, where } = this.#options
    if (as !== undefined) return parseReference(as)?.repository ?? as
    const index = this.#shallowest('index.json')
    if (index === undefined) return WAITING_ROOM
    const names = nameImages(parseIndex(this.#text(index), where), undefined)
    return names[0]?.repository ?? WAITING_ROOM
  }

  #text(name: string): string {
    return this.#documents.get(name)?.toString() ?? ''
  }

  /** Some archives have all below one directory; Zarf packages have their images in one. */
  #shallowest(document: string): string | undefined {
    const depth = (name: string) => name.split('/').length
    return [...this.#documents.keys()]
      .filter(name => posix.basename(name) === document)
      .sort((a, b) => depth(a) - depth(b))[0]
  }

  #counted(bytes: Buffer): Buffer {
    this.#keptBytes += bytes.length
    if (this.#keptBytes <= MAX_KEPT_BYTES) return bytes
    const message = `${this.#options.where} has more than ${MAX_KEPT_BYTES} bytes of manifests`
    throw new StarlingError('MANIFEST_INVALID', message)
  }
}

function blobDigest(name: string): Digest | undefined {
  const [, algorithm, hex] = BLOB.exec(name) ?? []
  return tryDigest(`${algorithm}:${hex}`)
}

/** Whether it may be a manifest, or the config that an image without a manifest needs. */
function isWorthKeeping(bytes: Buffer): boolean {
  if (bytes[0] !== '{'.charCodeAt(0)) return false
  try {
    const { schemaVersion, rootfs } = JSON.parse(bytes.toString()) as Record<string, unknown>
    return schemaVersion === 2 || rootfs !== undefined
  } catch {
    return false
  }
}

function readable(bytes: Buffer): Readable {
  return Readable.from([bytes], { objectMode: false })
}

async function* passing(
  bytes: AsyncIterable<Buffer>,
  see: (chunk: Buffer) => void
): AsyncGenerator<Buffer, void> {
  for await (const chunk of bytes) {
    see(chunk)
    yield chunk
  }
}
