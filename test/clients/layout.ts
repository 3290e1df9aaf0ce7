import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { type Digest, digestOf, hexOf } from '../../src/digest.ts'

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'

/**
 * Writes an OCI layout with one image of random layers of about the given sizes, which nobody has
 * seen before, under the tag `made`; gives the digest of its manifest.
 */
export async function writeLayout(
  directory: string,
  layerSizes: readonly number[]
): Promise<Digest> {
  await mkdir(join(directory, 'blobs/sha256'), { recursive: true })
  const put = async (mediaType: string, bytes: Buffer) => {
    const digest = digestOf(bytes)
    await writeFile(join(directory, 'blobs/sha256', hexOf(digest)), bytes)
    return { mediaType, digest, size: bytes.length }
  }
  const contents = layerSizes.map(sizeBytes => randomBytes(sizeBytes))
  const config = await put(
    'application/vnd.oci.image.config.v1+json',
    encoded({
      ...{ architecture: 'amd64', os: 'linux' },
      rootfs: { type: 'layers', diff_ids: contents.map(bytes => digestOf(bytes)) }
    })
  )
  // Compressed already, if badly: clients would else do it on the way, and the digests would change.
  const layers = await Promise.all(
    contents.map(bytes =>
      put('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(bytes, { level: 1 }))
    )
  )
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers }
  const descriptor = await put(OCI_MANIFEST, encoded(manifest))
  const annotations = { 'org.opencontainers.image.ref.name': 'made' }
  const index = { schemaVersion: 2, manifests: [{ ...descriptor, annotations }] }
  await writeFile(join(directory, 'index.json'), encoded(index))
  await writeFile(join(directory, 'oci-layout'), encoded({ imageLayoutVersion: '1.0.0' }))
  return descriptor.digest
}

function encoded(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document))
}
