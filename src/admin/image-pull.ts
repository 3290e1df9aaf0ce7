import { Readable } from 'node:stream'
import { StarlingError } from '../errors.ts'
import { isManifestType, parseManifest, type Reference } from '../manifest.ts'
import type { ImageSink } from './image-sink.ts'
import type { FoundManifest, RepositoryClient } from './repository-client.ts'

/** What an image came to. */
export interface Pulled {
  readonly blobs: number
  readonly bytes: number
}

/**
 * Writes an image into a directory or an archive, all that it reaches and is not left out of it.
 *
 * @param watch is given every blob, to be passed on
 */
export async function pullImage(
  from: RepositoryClient,
  root: FoundManifest,
  sink: ImageSink,
  watch: (bytes: Readable) => AsyncIterable<Buffer>
): Promise<Pulled> {
  const done = { blobs: 0, bytes: 0 }
  await pullManifest(root)
  return done

  async function pullManifest({ digest, mediaType, bytes }: FoundManifest): Promise<void> {
    await write({ digest, sizeBytes: bytes.length }, Readable.from([bytes]))
    const { references } = parseManifest(bytes, mediaType, digest)
    for (const each of references) if (each.role !== 'subject') await pullNamed(each)
  }

  async function pullNamed(named: Reference): Promise<void> {
    const { role, mediaType, digest, absence } = named
    if (sink.has(digest)) return
    if (role === 'child' && isManifestType(mediaType)) {
      const child = await from.manifest(digest)
      if (child !== undefined) return pullManifest(child)
      if (absence !== undefined) return
      throw new StarlingError('MANIFEST_UNKNOWN', `${digest} is not known`)
    }
    if (absence !== undefined && !(await from.hasBlob(digest))) return
    await write(named, await from.blob(digest))
  }

  async function write(
    { digest, sizeBytes }: Pick<Reference, 'digest' | 'sizeBytes'>,
    bytes: Readable
  ): Promise<void> {
    await sink.write(digest, sizeBytes, watch(bytes))
    done.blobs += 1
    done.bytes += sizeBytes
  }
}
