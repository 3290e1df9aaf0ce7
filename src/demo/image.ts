import { createHash, randomBytes } from 'node:crypto'
import { type Digest, digestOf, finishDigest, startDigest } from '../digest.ts'

const MiB = 1024 * 1024

/** A blob that can be made again and again without being kept: `sizeBytes` seeded bytes. */
export interface MadeBlob {
  readonly digest: Digest
  readonly sizeBytes: number
  bytes(): Iterable<Uint8Array>
}

export interface MadeImage {
  readonly mediaType: string
  readonly manifest: Buffer
  readonly digest: Digest
  readonly blobs: readonly MadeBlob[]
  readonly sizeBytes: number
}

/** An OCI artifact with random layers of the given sizes: nothing that a node already holds. */
export function makeImage(layerSizes: readonly number[]): MadeImage {
  return imageOf(layerSizes.map(sizeBytes => makeBlob(sizeBytes, randomBytes(16))))
}

/** An OCI artifact of these layers. */
export function imageOf(layers: readonly MadeBlob[]): MadeImage {
  const config = smallBlob(Buffer.from('{}'))
  const mediaType = 'application/vnd.oci.image.manifest.v1+json'
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType,
      artifactType: 'application/vnd.starling.demo',
      config: {
        mediaType: 'application/vnd.oci.empty.v1+json',
        digest: config.digest,
        size: config.sizeBytes
      },
      layers: layers.map(({ digest, sizeBytes }) => ({
        mediaType: 'application/octet-stream',
        digest,
        size: sizeBytes
      }))
    })
  )
  const blobs = [config, ...layers]
  return {
    mediaType,
    manifest,
    digest: digestOf(manifest),
    blobs,
    sizeBytes: manifest.length + blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0)
  }
}

/** Bytes that differ in every mebibyte, made at memory speed from one random block. */
export function makeBlob(sizeBytes: number, seed: Buffer): MadeBlob {
  const block = expand(seed, Math.min(MiB, Math.max(sizeBytes, 1)))
  function* bytes(): Iterable<Uint8Array> {
    for (let at = 0, index = 0; at < sizeBytes; at += block.length, index++) {
      const piece = Buffer.from(block.subarray(0, Math.min(block.length, sizeBytes - at)))
      if (piece.length >= 8) piece.writeBigUInt64LE(BigInt(index))
      yield piece
    }
  }
  const hash = startDigest('sha256')
  for (const piece of bytes()) hash.update(piece)
  return { digest: finishDigest('sha256', hash), sizeBytes, bytes }
}

function smallBlob(content: Buffer): MadeBlob {
  return { digest: digestOf(content), sizeBytes: content.length, bytes: () => [content] }
}

function expand(seed: Buffer, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(seed).digest()
}
