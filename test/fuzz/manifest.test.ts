import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf, tryDigest } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { type ParsedManifest, parseManifest, parseStoredManifest } from '../../src/manifest.ts'

const RUNS = 1_000

const IMAGE = 'application/vnd.oci.image.manifest.v1+json'
const INDEX = 'application/vnd.oci.image.index.v1+json'
const DOCKER_IMAGE = 'application/vnd.docker.distribution.manifest.v2+json'
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'

const digest = fc.stringMatching(/^[0-9a-f]{64}$/).map(hex => `sha256:${hex}`)
const blob = fc.uint8Array({ maxLength: 16 }).map(bytes => Buffer.from(bytes))

const descriptor = fc.oneof(
  fc.record({
    mediaType: fc.constantFrom('application/vnd.example', 'text/plain', IMAGE, 'x'),
    digest,
    size: fc.maxSafeNat()
  }),
  blob.map(bytes => ({
    mediaType: 'application/vnd.example.embedded',
    digest: digestOf(bytes),
    size: bytes.length,
    data: bytes.toString('base64')
  }))
)
const annotations = fc.dictionary(fc.string(), fc.string(), { maxKeys: 4 })
const common = {
  schemaVersion: fc.constant(2),
  subject: fc.option(descriptor, { nil: undefined }),
  artifactType: fc.option(fc.constantFrom('', 'application/vnd.example'), { nil: undefined }),
  annotations: fc.option(annotations, { nil: undefined })
}
const image = fc.record({
  ...common,
  mediaType: fc.constantFrom(IMAGE, DOCKER_IMAGE),
  config: descriptor,
  layers: fc.array(descriptor, { maxLength: 4 })
})
const index = fc.record({
  ...common,
  mediaType: fc.constantFrom(INDEX, DOCKER_LIST),
  manifests: fc.array(descriptor, { maxLength: 4 })
})
const manifest = fc.oneof(image, index)

/** What is in the place of something sound. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(null, true, 0, -1, 1.5, 2 ** 53, 1e308, '', [], {}, [[]], '2'),
  fc.constantFrom<unknown>('sha256:../../etc/passwd', IMAGE, { __proto__: null }, [null]),
  fc.jsonValue({ maxDepth: 3 })
)

test('a sound manifest is taken, with all that it names and nothing else', () => {
  fc.assert(
    fc.property(manifest, document => {
      const bytes = encoded(document)
      const parsed = parseManifest(bytes, document.mediaType)
      const named =
        'layers' in document ? [document.config, ...document.layers] : document.manifests
      const all = document.subject === undefined ? named : [...named, document.subject]
      assert.deepEqual(
        parsed.references.map(one => ({ digest: one.digest, size: one.sizeBytes })),
        all.map(one => ({ digest: one.digest, size: one.size }))
      )
      assert.equal(parsed.subject, document.subject?.digest)
      assert.deepEqual({ ...parsed.annotations }, { ...document.annotations })
      assertSound(parsed, bytes)
    }),
    { numRuns: RUNS }
  )
})

test('with anything odd in any place, a manifest is refused as one or taken with sound parts', () => {
  const places = ['schemaVersion', 'mediaType', 'config', 'layers', 'manifests', 'subject'] as const
  const place = fc.oneof(
    fc.constantFrom<readonly (string | number)[]>(...places.map(name => [name])),
    fc.constantFrom<readonly (string | number)[]>(
      ...['mediaType', 'digest', 'size', 'data', 'annotations'].flatMap(name => [
        ['config', name],
        ['subject', name],
        ['layers', 0, name],
        ['manifests', 0, name]
      ])
    ),
    fc.constantFrom<readonly (string | number)[]>(['Layers'], ['MANIFESTS'], ['fsLayers'], ['x'])
  )
  fc.assert(
    fc.property(manifest, place, odd, (document, path, value) => {
      tryParse(encoded(replaced(document, path, value)), document.mediaType)
    }),
    { numRuns: 3 * RUNS }
  )
})

test('what says one type in its header and has the shape of the other is refused', () => {
  fc.assert(
    fc.property(image, index, (one, other) => {
      const { mediaType: _, ...both } = { ...one, ...other }
      for (const type of [IMAGE, INDEX]) assert.equal(tryParse(encoded(both), type), undefined)
      assert.equal(tryParse(encoded(one), INDEX), undefined)
      assert.equal(tryParse(encoded(other), IMAGE), undefined)
    }),
    { numRuns: RUNS }
  )
})

test('any change of bytes is refused or taken with sound parts, and never by the old digest', () => {
  const change = fc.record({
    at: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
    drop: fc.nat(8),
    put: fc.oneof(
      fc.uint8Array({ maxLength: 6 }),
      fc
        .constantFrom('"', '{', ']', ',', '\\u0000', '\ufeff', '1e999', ',"layers":[]')
        .map(Buffer.from)
    )
  })
  fc.assert(
    fc.property(manifest, fc.array(change, { minLength: 1, maxLength: 4 }), (document, changes) => {
      const original = encoded(document)
      let bytes: Buffer = original
      for (const { at, drop, put } of changes) {
        const from = Math.floor(at * bytes.length)
        bytes = Buffer.concat([bytes.subarray(0, from), put, bytes.subarray(from + drop)])
      }
      tryParse(bytes, document.mediaType)
      if (bytes.equals(original)) return
      assert.throws(
        () => parseManifest(bytes, document.mediaType, digestOf(original)),
        error => isCode(error, 'DIGEST_INVALID')
      )
    }),
    { numRuns: 3 * RUNS }
  )
})

test('any bytes under any Content-Type are refused as a manifest', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.oneof(fc.constantFrom(IMAGE, INDEX, undefined), fc.string()),
      (bytes, type) => assert.equal(tryParse(Buffer.from(bytes), type), undefined)
    ),
    { numRuns: RUNS }
  )
})

test('no depth of brackets, closed or not, is a danger', () => {
  const bracket = fc.constantFrom('[', '{"a":', '{"layers":[', '"\\"[', ']')
  fc.assert(
    fc.property(bracket, fc.integer({ min: 1, max: 200_000 }), (text, times) => {
      assert.equal(tryParse(Buffer.from(text.repeat(times)), IMAGE), undefined)
    }),
    { numRuns: 50 }
  )
})

function encoded(document: unknown): Buffer {
  return Buffer.from(JSON.stringify(document))
}

/** A copy with another value at a path, as far as there is such a path. */
function replaced(document: unknown, path: readonly (string | number)[], value: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return value
  if (typeof document !== 'object' || document === null) return document
  const copy: Record<string, unknown> | unknown[] = Array.isArray(document)
    ? [...document]
    : { ...document }
  const fields = copy as Record<string | number, unknown>
  fields[key] = replaced(fields[key], rest, value)
  return copy
}

/** Refusals are `MANIFEST_INVALID`; what is not refused must be sound, and read the same later. */
function tryParse(bytes: Buffer, contentType: string | undefined): ParsedManifest | undefined {
  let parsed: ParsedManifest
  try {
    parsed = parseManifest(bytes, contentType)
  } catch (error) {
    assert.ok(isCode(error, 'MANIFEST_INVALID'), `${error}`)
    return undefined
  }
  assertSound(parsed, bytes)
  return parsed
}

function assertSound(parsed: ParsedManifest, bytes: Buffer): void {
  assert.equal(parsed.digest, digestOf(bytes))
  assert.equal(parsed.bytes, bytes)
  for (const { digest, sizeBytes, mediaType } of parsed.references) {
    assert.equal(tryDigest(digest), digest)
    assert.ok(Number.isSafeInteger(sizeBytes) && sizeBytes >= 0)
    assert.ok(mediaType.length > 0 && mediaType.length < 256)
  }
  const { digest: _, mediaType, bytes: __, ...fields } = parsed
  assert.deepEqual(parseStoredManifest(bytes, mediaType), fields)
}
