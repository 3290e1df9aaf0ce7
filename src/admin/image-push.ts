import type { Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { isManifestType, parseManifest, type Reference } from '../manifest.ts'
import type { ImageSource } from './image-source.ts'
import type { RepositoryClient } from './repository-client.ts'

/** What came of a push. */
export interface Pushed {
  readonly sent: { readonly blobs: number; readonly bytes: number }
  /** What the registry warns of. */
  readonly warnings: readonly string[]
}

/**
 * Pushes an image, children before parents, so that the registry never knows of half of one.
 *
 * @param reference a tag, or the digest itself
 * @throws `BLOB_UNKNOWN` when neither the source nor the registry has a part of it
 */
export async function pushImage(
  source: ImageSource,
  { digest, mediaType }: { readonly digest: Digest; readonly mediaType: string },
  to: RepositoryClient,
  reference: string
): Promise<Pushed> {
  const sent = { blobs: 0, bytes: 0 }
  const warnings = await pushManifest(digest, mediaType, reference)
  return { sent, warnings }

  async function pushManifest(digest: Digest, mediaType: string, reference: string) {
    const bytes = await source.manifest(digest)
    if (bytes === undefined) throw lacking(digest)
    for (const each of parseManifest(bytes, mediaType, digest).references) await pushNamed(each)
    return to.pushManifest(reference, { mediaType, bytes })
  }

  async function pushNamed({ role, mediaType, digest, absence }: Reference): Promise<void> {
    const isManifest = (role === 'child' || role === 'subject') && isManifestType(mediaType)
    if (isManifest && (await source.manifest(digest)) !== undefined) {
      await pushManifest(digest, mediaType, digest)
      return
    }
    const bytes = await source.give(digest, to)
    // What may be left out is; of the rest the registry may have it already, and says if not.
    if (bytes === undefined && absence === undefined) throw lacking(digest)
    if (bytes === undefined || bytes === 0) return
    sent.blobs += 1
    sent.bytes += bytes
  }

  function lacking(digest: Digest): StarlingError {
    return new StarlingError('BLOB_UNKNOWN', `${source.where} lacks ${digest}`)
  }
}
