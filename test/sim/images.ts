import { type Digest, digestOf } from '../../src/digest.ts'
import { type ParsedManifest, parseManifest } from '../../src/manifest.ts'

/** An image that clients push. */
export interface SimImage {
  readonly name: string
  readonly digest: Digest
  readonly manifest: ParsedManifest
  readonly blobs: readonly { readonly digest: Digest; readonly bytes: Buffer }[]
}

/** An image of its own for each name, with these layers; images share layers of the same name. */
export function imageOf(name: string, layers: readonly string[]): SimImage {
  const blobs = ['{}', ...layers].map(text => {
    const bytes = Buffer.from(text)
    return { digest: digestOf(bytes), bytes }
  })
  const [config, ...rest] = blobs.map(({ digest, bytes }) => ({
    mediaType: 'application/octet-stream',
    digest,
    size: bytes.length
  }))
  const document = {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config,
    layers: rest,
    annotations: { name }
  }
  const manifest = parseManifest(Buffer.from(JSON.stringify(document)), document.mediaType)
  return { name, digest: manifest.digest, manifest, blobs }
}

/** All that must be on a disk for an image to be there. */
export function reachOf({ digest, blobs }: SimImage): readonly Digest[] {
  return [digest, ...blobs.map(blob => blob.digest)]
}
