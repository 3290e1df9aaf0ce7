import { algorithmOf, type Digest, digestOf, tryDigest } from './digest.ts'
import { StarlingError } from './errors.ts'
import { parseJson } from './json.ts'

/** Something that a manifest names: a descriptor, and the part it has in the image. */
export interface Reference {
  /** What it is to the manifest; `child` is an entry of an index, which may be a plain blob too. */
  readonly role: 'config' | 'layer' | 'child' | 'subject'
  readonly mediaType: string
  readonly digest: Digest
  readonly sizeBytes: number
  /**
   * Why the manifest is accepted, and whole, without it: a layer that may not be redistributed, a
   * child left out of a sparse index, a subject that may come later. `undefined`: it must be there.
   */
  readonly absence: 'non-distributable' | 'sparse' | 'subject' | undefined
}

/** What a manifest says. */
export interface ManifestFields {
  readonly references: readonly Reference[]
  /** The manifest that this one refers to, such as the image that a signature is for. */
  readonly subject: Digest | undefined
  /** What a referrers list calls it: its own `artifactType`, or that of an image's config. */
  readonly artifactType: string | undefined
  readonly annotations: Readonly<Record<string, string>> | undefined
}

/** A manifest that is sound in itself; whether what it names is here is for {@link Content} to say. */
export interface ParsedManifest extends ManifestFields {
  readonly digest: Digest
  readonly mediaType: string
  /** Exactly as received: a digest is of bytes, so they are never written anew. */
  readonly bytes: Buffer
}

/** OCI distribution-spec: registries should take 4 MiB; containerd pulls no manifest much above it. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024

/** Image manifests nest about five deep; the rest is room for fields of other people's invention. */
const MAX_DEPTH = 64

const SHAPES: Readonly<Record<string, 'image' | 'index'>> = {
  'application/vnd.oci.image.manifest.v1+json': 'image',
  'application/vnd.oci.image.index.v1+json': 'index',
  'application/vnd.docker.distribution.manifest.v2+json': 'image',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'index'
}

/** The media types of manifests, for who accepts them all. */
export const MANIFEST_TYPES: readonly string[] = Object.keys(SHAPES)

const NON_DISTRIBUTABLE =
  /^application\/vnd\.(?:docker\.image\.rootfs\.foreign\.|oci\.image\.layer\.nondistributable\.)/

/** Whether a descriptor of this media type names a manifest, which names others in turn. */
export function isManifestType(mediaType: string): boolean {
  return Object.hasOwn(SHAPES, mediaType)
}

/**
 * Reads a pushed manifest.
 *
 * @param contentType the `Content-Type` it came with; its parameters do not count, and without it
 *   the document's own `mediaType` decides
 * @param expected the digest it was pushed by, if it was; its algorithm names the manifest
 * @throws `MANIFEST_INVALID` when it is not sound, `DIGEST_INVALID` when it is not as expected
 */
export function parseManifest(
  bytes: Buffer,
  contentType: string | undefined,
  expected?: Digest
): ParsedManifest {
  const digest = digestOf(bytes, expected === undefined ? 'sha256' : algorithmOf(expected))
  if (expected !== undefined && digest !== expected) {
    throw new StarlingError('DIGEST_INVALID', `the manifest is ${digest}, not ${expected}`, {
      detail: { digest }
    })
  }
  const document = parseJson(bytes, MAX_DEPTH)
  if (!isObject(document)) throw invalid('the manifest is not a JSON object')
  const mediaType = mediaTypeOf(document, contentType)
  return { digest, mediaType, bytes, ...fieldsOf(document, mediaType) }
}

/** Reads what a stored manifest says. Its media type is the one it was pushed with. */
export function parseStoredManifest(bytes: Buffer, mediaType: string): ManifestFields {
  const document = parseJson(bytes, MAX_DEPTH)
  if (!isObject(document)) throw invalid('the manifest is not a JSON object')
  return fieldsOf(document, mediaTypeOf(document, mediaType))
}

type Fields = Readonly<Record<string, unknown>>

function mediaTypeOf(document: Fields, contentType: string | undefined): string {
  const own = document['mediaType']
  const given = contentType?.split(';', 1)[0]?.trim()
  const mediaType = given || own
  if (typeof mediaType !== 'string' || !isManifestType(mediaType)) {
    throw invalid(`a manifest is one of ${Object.keys(SHAPES).join(', ')}`)
  }
  // CVE-2021-41190: a document must not mean one thing by its header and another by its body.
  if (own !== undefined && own !== mediaType) {
    throw invalid(`the Content-Type is ${mediaType}, but the manifest says it is something else`)
  }
  return mediaType
}

function fieldsOf(document: Fields, mediaType: string): ManifestFields {
  refuseAmbiguity(document)
  if (document['schemaVersion'] !== 2) throw invalid('schemaVersion is not 2')
  const named =
    SHAPES[mediaType] === 'index' ? indexReferences(document) : imageReferences(document)
  const subject =
    document['subject'] === undefined || document['subject'] === null
      ? undefined
      : reference(document['subject'], 'subject', 'subject')
  return {
    references: subject === undefined ? named : [...named, subject],
    subject: subject?.digest,
    artifactType:
      artifactTypeOf(document) ?? named.find(({ role }) => role === 'config')?.mediaType,
    annotations: annotationsOf(document)
  }
}

/** RFC 6838 allows 127 characters on each side of the slash. */
const MAX_MEDIA_TYPE_LENGTH = 255

function artifactTypeOf(document: Fields): string | undefined {
  const artifactType = document['artifactType'] ?? ''
  if (typeof artifactType !== 'string' || artifactType.length > MAX_MEDIA_TYPE_LENGTH) {
    throw invalid('artifactType is not a media type')
  }
  return artifactType === '' ? undefined : artifactType
}

/** Only what is of the form that the image specification gives: text for text. */
function annotationsOf(document: Fields): Readonly<Record<string, string>> | undefined {
  const annotations = document['annotations']
  if (!isObject(annotations)) return undefined
  const texts = Object.entries(annotations).filter(([, value]) => typeof value === 'string')
  return Object.fromEntries(texts) as Record<string, string>
}

const MEANINGFUL = [
  'schemaVersion',
  'mediaType',
  'config',
  'layers',
  'manifests',
  'subject',
  'fsLayers'
]
const MEANINGFUL_BY_FOLD = new Map(MEANINGFUL.map(key => [key.toLowerCase(), key]))

/**
 * Go programs, containerd among them, match keys of any case: "Layers" would be layers to them and
 * nothing to us, and they would pull what we do not keep.
 */
function refuseAmbiguity(document: Fields): void {
  for (const key of Object.keys(document)) {
    const meant = MEANINGFUL_BY_FOLD.get(key.toLowerCase())
    if (meant !== undefined && meant !== key) throw invalid(`"${meant}" is written in another case`)
  }
}

function imageReferences(document: Fields): Reference[] {
  refuseFields(document, 'an image manifest', ['manifests', 'fsLayers'])
  const layers = list(document, 'layers').map(layer => reference(layer, 'layer', undefined))
  return [
    reference(document['config'], 'config', undefined),
    ...layers.map(layer =>
      NON_DISTRIBUTABLE.test(layer.mediaType)
        ? { ...layer, absence: 'non-distributable' as const }
        : layer
    )
  ]
}

function indexReferences(document: Fields): Reference[] {
  refuseFields(document, 'an index', ['config', 'layers', 'fsLayers'])
  return list(document, 'manifests').map(descriptor => {
    const child = reference(descriptor, 'child', 'sparse')
    // Build caches list layers in an index. Nothing but the index could keep such a plain blob.
    return isManifestType(child.mediaType) ? child : { ...child, absence: undefined }
  })
}

function refuseFields(document: Fields, what: string, fields: readonly string[]): void {
  for (const field of fields) {
    if (document[field] !== undefined && document[field] !== null) {
      throw invalid(`${what} has no "${field}"`)
    }
  }
}

/** An absent list is an empty one: Go programs write `null` for it. */
function list(document: Fields, field: string): readonly unknown[] {
  const value = document[field] ?? []
  if (!Array.isArray(value)) throw invalid(`"${field}" is not a list`)
  return value
}

function reference(
  descriptor: unknown,
  role: Reference['role'],
  absence: Reference['absence']
): Reference {
  if (!isObject(descriptor)) throw invalid(`a ${role} has no descriptor`)
  const { mediaType, digest: digestText, size, data } = descriptor
  const digest = typeof digestText === 'string' ? tryDigest(digestText) : undefined
  if (digest === undefined) throw invalid(`a ${role} has no sha256 or sha512 digest`)
  if (
    typeof mediaType !== 'string' ||
    mediaType === '' ||
    mediaType.length > MAX_MEDIA_TYPE_LENGTH
  ) {
    throw invalid(`the ${role} ${digest} has no mediaType`)
  }
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`the ${role} ${digest} has no size`)
  }
  if (data !== undefined && data !== null) checkData(data, digest, size)
  return { role, mediaType, digest, sizeBytes: size, absence }
}

/** OCI image-spec, "Embedded content": `data` must be the bytes that the descriptor names. */
function checkData(data: unknown, digest: Digest, sizeBytes: number): void {
  const bytes = typeof data === 'string' ? Buffer.from(data, 'base64') : undefined
  if (bytes?.length !== sizeBytes || digestOf(bytes, algorithmOf(digest)) !== digest) {
    throw invalid(`the data embedded for ${digest} is not what it names`)
  }
}

function isObject(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(message: string): StarlingError {
  return new StarlingError('MANIFEST_INVALID', message)
}
