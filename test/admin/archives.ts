import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { type Header, pack } from 'tar-stream'
import { type Digest, digestOf, hexOf } from '../../src/digest.ts'
import { descriptor, OCI_IMAGE } from '../registry/fixture.ts'

/** A file of an archive, by its name, or whatever else a header may say. */
export type Entry = readonly [string, Buffer | string] | Partial<Header>

/** An image as archives hold it: its config names its layers by their plain bytes. */
export interface ArchivedImage {
  readonly layers: readonly Buffer[]
  readonly config: Buffer
  readonly manifest: Buffer
  readonly digest: Digest
}

export function archivedImage(layerSizes: readonly number[]): ArchivedImage {
  const layers = layerSizes.map(sizeBytes => randomBytes(sizeBytes))
  const rootfs = { type: 'layers', diff_ids: layers.map(layer => digestOf(layer)) }
  const config = json({ architecture: 'amd64', os: 'linux', rootfs })
  const manifest = json({
    schemaVersion: 2,
    mediaType: OCI_IMAGE,
    config: descriptor('application/vnd.oci.image.config.v1+json', config),
    layers: layers.map(layer => descriptor('application/vnd.oci.image.layer.v1.tar', layer))
  })
  return { layers, config, manifest, digest: digestOf(manifest) }
}

/** The files of an OCI layout with an image, in the order in which skopeo writes them. */
export function layoutEntries(image: ArchivedImage, name?: string): Entry[] {
  const blobs = [image.config, image.manifest, ...image.layers].map(blobEntry)
  const annotations = name === undefined ? {} : { 'org.opencontainers.image.ref.name': name }
  const root = { ...descriptor(OCI_IMAGE, image.manifest), annotations }
  const index = json({ schemaVersion: 2, manifests: [root] })
  return [...blobs, ['index.json', index], ['oci-layout', '{"imageLayoutVersion":"1.0.0"}']]
}

export function blobEntry(bytes: Buffer): Entry {
  return [`blobs/sha256/${hexOf(digestOf(bytes))}`, bytes]
}

/** The files that `skopeo copy docker-archive:` writes: a layer under its digest, links for old readers. */
export function dockerEntries(image: ArchivedImage, tags: readonly string[]): Entry[] {
  const names = image.layers.map(layer => `${hexOf(digestOf(layer))}.tar`)
  const config = `${hexOf(digestOf(image.config))}.json`
  const links = names.map((name, index) => link(`${index}/layer.tar`, `../${name}`))
  const list = json([{ Config: config, RepoTags: tags, Layers: names }])
  const layers = image.layers.map((layer, index): Entry => [names[index] ?? '', layer])
  return [...layers, [config, image.config], ...links, ['manifest.json', list]]
}

export function link(name: string, linkname: string): Partial<Header> {
  return { name, linkname, type: 'symlink' }
}

export function json(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document))
}

/** A tar archive. */
export async function tarOf(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack()
  const whole = buffer(Readable.from(archive))
  for (const entry of entries) {
    if (!isFile(entry)) {
      archive.entry({ name: '', ...entry })
      continue
    }
    const [name, content] = entry
    const sink = archive.entry({ name }, content)
    await once(sink, 'close')
  }
  archive.finalize()
  return whole
}

function isFile(entry: Entry): entry is readonly [string, Buffer | string] {
  return Array.isArray(entry)
}

/** As bytes come through a pipe, of a length that fits nothing in a tar file. */
export function* inPieces(bytes: Buffer): Generator<Buffer, void> {
  for (let at = 0; at < bytes.length; at += 64_001) yield bytes.subarray(at, at + 64_001)
}
