import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../src/digest.ts'
import { isCode } from '../src/errors.ts'
import { parseManifest } from '../src/manifest.ts'
import { descriptor, OCI_IMAGE, OCI_INDEX } from './registry/fixture.ts'

const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json'
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
const CONFIG = descriptor('application/vnd.oci.image.config.v1+json', Buffer.from('{}'))
const LAYER = descriptor('application/vnd.oci.image.layer.v1.tar', Buffer.from('layer'))
const CHILD = descriptor(OCI_IMAGE, Buffer.from('child'))

const image = (more: object = {}) => ({
  schemaVersion: 2,
  config: CONFIG,
  layers: [LAYER],
  ...more
})
const index = (more: object = {}) => ({ schemaVersion: 2, manifests: [CHILD], ...more })
const parse = (document: unknown, type?: string) =>
  parseManifest(
    Buffer.from(typeof document === 'string' ? document : JSON.stringify(document)),
    type
  )

function refuses(document: unknown, type: string | undefined, why: string): void {
  assert.throws(
    () => parse(document, type),
    (error: unknown) => isCode(error, 'MANIFEST_INVALID'),
    why
  )
}

test('the references of an image are its config and layers, those of an index its children', () => {
  for (const type of [OCI_IMAGE, DOCKER_IMAGE]) {
    const parsed = parse(image({ mediaType: type }), type)
    assert.equal(parsed.mediaType, type)
    assert.deepEqual(
      parsed.references.map(({ role, digest, sizeBytes, absence }) => ({
        role,
        digest,
        sizeBytes,
        absence
      })),
      [
        { role: 'config', digest: CONFIG['digest'], sizeBytes: 2, absence: undefined },
        { role: 'layer', digest: LAYER['digest'], sizeBytes: 5, absence: undefined }
      ]
    )
  }
  for (const type of [OCI_INDEX, DOCKER_LIST]) {
    const [child] = parse(index({ mediaType: type }), type).references
    assert.equal(child?.role, 'child')
    assert.equal(child?.absence, 'sparse')
  }
})

test('what may be absent is flagged with the reason', () => {
  for (const mediaType of [
    'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
    'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
  ]) {
    const parsed = parse(
      image({ layers: [{ ...LAYER, mediaType, urls: ['https://x/'] }] }),
      OCI_IMAGE
    )
    assert.equal(parsed.references[1]?.absence, 'non-distributable')
  }
  for (const document of [image({ subject: CHILD }), index({ subject: CHILD })]) {
    const parsed = parse(document, 'config' in document ? OCI_IMAGE : OCI_INDEX)
    assert.deepEqual(parsed.references.at(-1)?.role, 'subject')
    assert.deepEqual(parsed.references.at(-1)?.absence, 'subject')
  }
})

test('the media type is that of the header without its parameters, or else of the document', () => {
  assert.equal(parse(image(), `${OCI_IMAGE}; charset=utf-8`).mediaType, OCI_IMAGE)
  assert.equal(parse(image({ mediaType: DOCKER_IMAGE })).mediaType, DOCKER_IMAGE)
  refuses(image(), undefined, 'no media type at all')
  refuses(image(), 'application/json', 'a media type that is no manifest')
  refuses(image(), 'application/vnd.docker.distribution.manifest.v1+prettyjws', 'schema 1')
  refuses(image({ mediaType: OCI_IMAGE }), DOCKER_IMAGE, 'header and document differ')
  refuses(image({ mediaType: 7 }), OCI_IMAGE, 'a media type that is no string')
  refuses(image({ mediaType: null }), undefined, 'null')
})

test('a document that could be read as an image and as an index is refused', () => {
  refuses(image({ manifests: [CHILD] }), OCI_IMAGE, 'an image with manifests')
  refuses(index({ layers: [LAYER] }), OCI_INDEX, 'an index with layers')
  refuses(index({ config: CONFIG }), OCI_INDEX, 'an index with a config')
  refuses(image({ fsLayers: [] }), OCI_IMAGE, 'schema 1 within')
  refuses(image({ Layers: [] }), OCI_IMAGE, 'a key of another case, which Go would read')
  refuses(image({ MANIFESTS: [] }), OCI_IMAGE, 'a key of another case, which Go would read')
  assert.ok(parse(image({ manifests: null }), OCI_IMAGE), 'null is how Go writes nothing')
})

test('unknown fields, odd spacing, a byte order mark and empty lists are none of our business', () => {
  const bytes = Buffer.from(
    `\ufeff  ${JSON.stringify(image({ layers: null, org: { x: [1] } }))}\n\n`
  )
  const parsed = parseManifest(bytes, OCI_IMAGE)
  assert.equal(parsed.bytes, bytes)
  assert.equal(parsed.digest, digestOf(bytes))
  assert.equal(parsed.references.length, 1)
  assert.deepEqual(parse(index({ manifests: [] }), OCI_INDEX).references, [])
})

test('a descriptor must have a media type, a digest we can verify and a size', () => {
  for (const bad of [
    { mediaType: undefined },
    { mediaType: '' },
    { mediaType: 1 },
    { digest: undefined },
    { digest: 'sha256:ab' },
    { digest: `${LAYER['digest']} ` },
    { digest: String(LAYER['digest']).toUpperCase() },
    { size: undefined },
    { size: -1 },
    { size: 1.5 },
    { size: '5' },
    { size: 2 ** 60 }
  ]) {
    refuses(image({ layers: [{ ...LAYER, ...bad }] }), OCI_IMAGE, JSON.stringify(bad))
  }
  for (const layers of [[null], ['x'], [[]], {}, 'x', 7])
    refuses(image({ layers }), OCI_IMAGE, 'layers')
  refuses(image({ config: undefined }), OCI_IMAGE, 'no config')
  refuses(image({ schemaVersion: 1 }), OCI_IMAGE, 'schema version')
})

test('embedded data must be what the descriptor names', () => {
  const data = (text: string) => Buffer.from(text).toString('base64')
  assert.ok(parse(image({ layers: [{ ...LAYER, data: data('layer') }] }), OCI_IMAGE))
  refuses(image({ layers: [{ ...LAYER, data: data('LAYER') }] }), OCI_IMAGE, 'other bytes')
  refuses(image({ layers: [{ ...LAYER, data: 5 }] }), OCI_IMAGE, 'no string')
})

test('what is not JSON, no object, or nested without end is refused', () => {
  for (const text of ['', '{', 'null', '[]', '"x"', '7', '{"a":1}{', '\0'])
    refuses(text, OCI_IMAGE, text)
  const deep = JSON.stringify(image()).slice(0, -1)
  refuses(`${deep},"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, OCI_IMAGE, 'depth')
  assert.ok(
    parse(`${deep},"x":"${'['.repeat(100)}\\"${'{'.repeat(100)}"}`, OCI_IMAGE),
    'in a string'
  )
})

test('a manifest is named by the algorithm it was pushed by', () => {
  const bytes = Buffer.from(JSON.stringify(image()))
  const expected = digestOf(bytes, 'sha512')
  assert.equal(parseManifest(bytes, OCI_IMAGE, expected).digest, expected)
  assert.throws(
    () => parseManifest(bytes, OCI_IMAGE, digestOf(Buffer.from('x'))),
    (error: unknown) => isCode(error, 'DIGEST_INVALID')
  )
})
