import { tryDigest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import { isManifestType } from '../manifest.ts'
import type { LayoutImage } from './image-source.ts'

/** What makes a directory or an archive an OCI image layout. */
export const LAYOUT_MARKER = { name: 'oci-layout', text: '{"imageLayoutVersion":"1.0.0"}' } as const

/**
 * The images that the `index.json` of a layout lists.
 *
 * @throws `MANIFEST_INVALID` when it cannot be read, or lists something else
 */
export function parseIndex(text: string, where: string): readonly LayoutImage[] {
  try {
    const { manifests } = JSON.parse(text) as { readonly manifests: readonly unknown[] }
    return manifests.map(parseDescriptor)
  } catch (cause) {
    if (cause instanceof StarlingError) throw cause
    throw new StarlingError('MANIFEST_INVALID', `${where} lists no images`, { cause })
  }
}

/** The text of an `index.json`. */
export function formatIndex(images: readonly LayoutImage[]): string {
  const manifests = images.map(({ mediaType, digest, sizeBytes, annotations }) => ({
    ...{ mediaType, digest, size: sizeBytes, annotations }
  }))
  const mediaType = 'application/vnd.oci.image.index.v1+json'
  return JSON.stringify({ schemaVersion: 2, mediaType, manifests })
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
