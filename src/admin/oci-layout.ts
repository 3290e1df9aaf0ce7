import { createReadStream, createWriteStream } from 'node:fs'
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { algorithmOf, type Digest, finishDigest, hexOf, startDigest, tryDigest } from '../digest.ts'
import { makeDirectories } from '../directories.ts'
import { StarlingError, systemCode } from '../errors.ts'
import { isManifestType } from '../manifest.ts'

/** An image of a layout, as its index lists it. */
export interface LayoutImage {
  readonly mediaType: string
  readonly digest: Digest
  readonly sizeBytes: number
  readonly annotations: Readonly<Record<string, string>>
}

/**
 * A directory with images in it, each blob in a file of its own.
 *
 * @see OCI image-spec, "Image Layout Specification"
 */
export class OciLayout {
  readonly directory: string

  private constructor(directory: string) {
    this.directory = directory
  }

  /** One that is there. Throws `CONFIG_INVALID` when the directory is none. */
  static async open(directory: string): Promise<OciLayout> {
    const marker = await readFile(join(directory, 'oci-layout'), 'utf8').catch(() => undefined)
    if (marker !== undefined) return new OciLayout(directory)
    const is = (await isFile(directory)) ? ', but a file: unpack an archive first' : ''
    throw new StarlingError('CONFIG_INVALID', `${directory} is no OCI image layout directory${is}`)
  }

  /** A new one, in a directory that is empty or not there. Throws `CONFIG_INVALID` when it is not. */
  static async create(directory: string): Promise<OciLayout> {
    const unwritable = (cause: unknown) => {
      const reason = systemCode(cause) ?? cause
      throw new StarlingError('CONFIG_INVALID', `${directory} cannot be written: ${reason}`, {
        cause
      })
    }
    const there = await readdir(directory).catch((error: unknown) =>
      systemCode(error) === 'ENOENT' ? [] : unwritable(error)
    )
    if (there.length > 0) {
      throw new StarlingError('CONFIG_INVALID', `${directory} is there already, and not empty`)
    }
    await makeDirectories(directory).catch(unwritable)
    return new OciLayout(directory)
  }

  /** What the index lists. Throws `MANIFEST_INVALID` when it cannot be read. */
  async images(): Promise<readonly LayoutImage[]> {
    const path = join(this.directory, 'index.json')
    try {
      const { manifests } = JSON.parse(await readFile(path, 'utf8')) as { manifests: unknown[] }
      return manifests.map(parseDescriptor)
    } catch (cause) {
      if (cause instanceof StarlingError) throw cause
      throw new StarlingError('MANIFEST_INVALID', `${path} lists no images`, { cause })
    }
  }

  /** The size of a blob in bytes; `undefined` when it is not here. */
  async sizeOf(digest: Digest): Promise<number | undefined> {
    const found = await stat(this.#path(digest)).catch(() => undefined)
    return found?.isFile() ? found.size : undefined
  }

  /** The bytes of a blob, not verified. */
  read(digest: Digest): Readable {
    return createReadStream(this.#path(digest))
  }

  /** Stores a blob under its name once it has turned out to be what that says; gives its size. */
  async write(digest: Digest, bytes: Readable): Promise<number> {
    const path = this.#path(digest)
    await makeDirectories(dirname(path))
    const hash = startDigest(algorithmOf(digest))
    let sizeBytes = 0
    const hashing = new Transform({
      transform(chunk: Buffer, _encoding, done) {
        hash.update(chunk)
        sizeBytes += chunk.length
        done(null, chunk)
      }
    })
    await pipeline(bytes, hashing, createWriteStream(`${path}.new`))
    const came = finishDigest(algorithmOf(digest), hash)
    if (came !== digest) throw new StarlingError('DIGEST_INVALID', `${digest} came as ${came}`)
    await rename(`${path}.new`, path)
    return sizeBytes
  }

  /** Makes it a layout, with these images. Last, so that what broke off before is none. */
  async finish(images: readonly LayoutImage[]): Promise<void> {
    const manifests = images.map(({ mediaType, digest, sizeBytes, annotations }) => ({
      ...{ mediaType, digest, size: sizeBytes, annotations }
    }))
    const mediaType = 'application/vnd.oci.image.index.v1+json'
    const index = { schemaVersion: 2, mediaType, manifests }
    await writeFile(join(this.directory, 'index.json'), JSON.stringify(index))
    await writeFile(join(this.directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  }

  #path(digest: Digest): string {
    return join(this.directory, 'blobs', algorithmOf(digest), hexOf(digest))
  }
}

function parseDescriptor(value: unknown): LayoutImage {
  const { mediaType, digest, size, annotations } = value as Readonly<Record<string, unknown>>
  const parsed = tryDigest(String(digest))
  if (parsed === undefined || !isManifestType(String(mediaType))) {
    throw new StarlingError('MANIFEST_INVALID', `no image: ${String(digest)}, ${String(mediaType)}`)
  }
  const texts = Object.entries(annotations ?? {}).map(([key, text]) => [key, String(text)])
  return {
    ...{ mediaType: String(mediaType), digest: parsed, sizeBytes: Number(size) },
    annotations: Object.fromEntries(texts) as Record<string, string>
  }
}

async function isFile(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isFile(),
    () => false
  )
}
