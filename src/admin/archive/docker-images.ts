import { Buffer } from 'node:buffer'
import { posix } from 'node:path'
import { type Digest, digestOf } from '../../digest.ts'
import { parseJson } from '../../json.ts'
import { FULL_NAME, REF_NAME } from '../image-names.ts'
import type { LayoutImage } from '../image-source.ts'
import type { Compression } from './compression.ts'
import { damaged } from './entries.ts'

/** Docker writes a link for a layer that another image has too, and never one to a link. */
const MAX_HOPS = 8

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG = 'application/vnd.oci.image.config.v1+json'
const LAYERS: Readonly<Partial<Record<Compression | 'none', string>>> = {
  none: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd'
}

/** A file of an archive that went to the registry. */
export interface StoredFile {
  readonly digest: Digest
  readonly sizeBytes: number
  readonly compression: Compression | undefined
}

/** What an archive held, by the names in it. */
export interface ArchiveContents {
  readonly where: string
  readonly files: ReadonlyMap<string, StoredFile>
  readonly links: ReadonlyMap<string, string>
  /** A file that is JSON. */
  readonly document: (name: string) => Buffer | undefined
}

/** Images, and the manifests and configs that are not in the registry yet. */
export interface DockerImages {
  readonly images: readonly LayoutImage[]
  readonly blobs: ReadonlyMap<Digest, Buffer>
}

/**
 * The images of an archive as `docker save` wrote it before version 25, and others write it still:
 * a list of what each one is made of, and no manifests. Those are made here, of the same bytes: the
 * layers stay as they are, mostly plain, as containerd leaves them, so that every layer that is not
 * compressed is held against the digest that the config states, and two imports give the same image.
 *
 * @param list the name of its `manifest.json`
 * @throws `DATA_DAMAGED` when something that the list names is not there, or other than it says, and
 *   `MANIFEST_INVALID` when the list or a config is no JSON
 */
export function dockerImages(contents: ArchiveContents, list: string): DockerImages {
  const { where } = contents
  const directory = posix.dirname(list)
  const blobs = new Map<Digest, Buffer>()
  const images: LayoutImage[] = []
  for (const { config, layers, tags } of parseList(contents, list)) {
    const configBytes = contents.document(resolve(contents, posix.join(directory, config)))
    if (configBytes === undefined) throw damaged(where, `${config} is not in it`)
    const files = layers.map(layer => {
      const file = contents.files.get(resolve(contents, posix.join(directory, layer)))
      if (file === undefined) throw damaged(where, `the layer ${layer} is not in it`)
      return file
    })
    compare(where, config, diffIdsOf(configBytes), files)
    const manifest = manifestOf(where, configBytes, files)
    const digest = digestOf(manifest)
    blobs.set(digestOf(configBytes), configBytes).set(digest, manifest)
    const image = { mediaType: MANIFEST, digest, sizeBytes: manifest.length }
    if (tags.length === 0) images.push({ ...image, annotations: {} })
    for (const tag of tags) images.push({ ...image, annotations: namesOf(tag) })
  }
  return { images, blobs }
}

function namesOf(tag: string): Readonly<Record<string, string>> {
  return { [FULL_NAME]: tag, [REF_NAME]: tag.slice(tag.lastIndexOf(':') + 1) }
}

function manifestOf(where: string, config: Buffer, files: readonly StoredFile[]): Buffer {
  const layers = files.map(({ digest, sizeBytes, compression }) => {
    const mediaType = LAYERS[compression ?? 'none']
    if (mediaType === undefined) throw damaged(where, `a layer is compressed with ${compression}`)
    return { mediaType, digest, size: sizeBytes }
  })
  const descriptor = { mediaType: CONFIG, digest: digestOf(config), size: config.length }
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: descriptor, layers }
  return Buffer.from(JSON.stringify(manifest))
}

/** A config names its layers by the digests of their plain bytes. */
function diffIdsOf(config: Buffer): readonly string[] {
  const { rootfs } = fieldsOf(parse(config))
  return texts(fieldsOf(rootfs)['diff_ids'])
}

function compare(
  where: string,
  config: string,
  diffIds: readonly string[],
  files: readonly StoredFile[]
): void {
  if (diffIds.length !== files.length) {
    throw damaged(where, `${config} is of ${diffIds.length} layers, and ${files.length} are listed`)
  }
  for (const [index, { digest, compression }] of files.entries()) {
    if (compression === undefined && digest !== diffIds[index]) {
      throw damaged(where, `a layer is ${digest}, but should be ${diffIds[index]}`)
    }
  }
}

interface ListedImage {
  readonly config: string
  readonly layers: readonly string[]
  readonly tags: readonly string[]
}

function parseList(contents: ArchiveContents, list: string): readonly ListedImage[] {
  const items = parse(contents.document(list) ?? Buffer.from('null'))
  if (!Array.isArray(items)) throw damaged(contents.where, `${list} lists no images`)
  return items.map(item => {
    const { Config, Layers, RepoTags } = fieldsOf(item)
    return { config: String(Config), layers: texts(Layers), tags: texts(RepoTags) }
  })
}

/** Lists of images and configs are three deep; the rest is room for what others add. */
const MAX_DEPTH = 64

function parse(document: Buffer): unknown {
  return parseJson(document, MAX_DEPTH)
}

/** None of what is no object. */
function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {}
}

/** Go writes `null` for a list with nothing in it. */
function texts(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : []
}

function resolve({ links, where }: ArchiveContents, name: string): string {
  let target = name
  for (let hops = 0; ; hops++) {
    const next = links.get(target)
    if (next === undefined) return target
    if (hops === MAX_HOPS) throw damaged(where, `${name} is a link to a link, and so on`)
    target = next
  }
}
