/** The manifest of an image of a config and one layer, whose digests are known. */
export function imageManifest(
  [config, layer]: readonly [Buffer, Buffer],
  [configDigest, layerDigest]: readonly string[]
): Buffer {
  return Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: 'application/vnd.oci.image.manifest.v1+json',
      config: {
        mediaType: 'application/vnd.oci.image.config.v1+json',
        digest: configDigest,
        size: config.length
      },
      layers: [
        {
          mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip',
          digest: layerDigest,
          size: layer.length
        }
      ]
    })
  )
}
