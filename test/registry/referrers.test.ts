import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import {
  assertError,
  descriptor,
  OCI_IMAGE,
  OCI_INDEX,
  openRegistry,
  type Registry
} from './fixture.ts'

const EMPTY = Buffer.from('{}')
const CONFIG_TYPE = 'application/vnd.example.config'
const SUBJECT = descriptor(OCI_IMAGE, Buffer.from('a manifest that nobody pushed'))

interface List {
  readonly status: number
  readonly headers: Headers
  readonly digests: readonly string[]
  readonly manifests: readonly Record<string, unknown>[]
}

async function push(registry: Registry, fields: Record<string, unknown>): Promise<string> {
  registry.content.blobs.set(digestOf(EMPTY), EMPTY)
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_IMAGE,
      config: descriptor(CONFIG_TYPE, EMPTY),
      subject: SUBJECT,
      ...fields
    })
  )
  const digest = digestOf(bytes)
  const url = `${registry.url}/v2/a/b/manifests/${digest}`
  const response = await fetch(url, { method: 'PUT', body: bytes })
  assert.equal(response.status, 201, await response.text())
  assert.equal(response.headers.get('oci-subject'), SUBJECT['digest'])
  return digest
}

async function list(registry: Registry, query = '', repository = 'a/b'): Promise<List> {
  const url = `${registry.url}/v2/${repository}/referrers/${SUBJECT['digest']}${query}`
  const response = await fetch(url)
  const { schemaVersion, mediaType, manifests } = JSON.parse(await response.text())
  assert.equal(schemaVersion, 2)
  assert.equal(mediaType, OCI_INDEX)
  const digests = manifests.map(({ digest }: { digest: string }) => digest)
  return { status: response.status, headers: response.headers, digests, manifests }
}

test('a subject that nobody knows has an empty list of referrers', async t => {
  const registry = await openRegistry(t)
  const { status, headers, manifests } = await list(registry)
  assert.equal(status, 200)
  assert.equal(headers.get('content-type'), OCI_INDEX)
  assert.deepEqual(manifests, [])
  const wrong = await fetch(`${registry.url}/v2/a/referrers/sha256:abc`)
  await assertError(wrong, 400, 'DIGEST_INVALID')
})

test('a referrer is listed with its type and its annotations, in its own repository', async t => {
  const registry = await openRegistry(t)
  const annotations = { 'org.example.key': 'value', other: '' }
  const typed = await push(registry, { artifactType: 'application/vnd.example.sbom', annotations })
  const untyped = await push(registry, { layers: [] })
  const index = { mediaType: OCI_INDEX, config: undefined, manifests: [] }
  const plain = await push(registry, index)
  const { digests, manifests } = await list(registry)
  assert.deepEqual(digests, [typed, untyped, plain].sort())
  const entry = (digest: string) => manifests.find(each => each['digest'] === digest) ?? {}
  assert.deepEqual(entry(typed)['annotations'], annotations)
  assert.equal(entry(typed)['artifactType'], 'application/vnd.example.sbom')
  assert.equal(entry(typed)['mediaType'], OCI_IMAGE)
  assert.equal(entry(untyped)['artifactType'], CONFIG_TYPE)
  assert.equal('artifactType' in entry(plain), false)
  assert.deepEqual((await list(registry, '', 'a/c')).manifests, [])
})

test('referrers are filtered by one or several artifact types', async t => {
  const registry = await openRegistry(t)
  const [x, y] = [
    await push(registry, { artifactType: 'x/x' }),
    await push(registry, { artifactType: 'y/y' })
  ]
  const only = await list(registry, '?artifactType=x/x')
  assert.deepEqual(only.digests, [x])
  assert.equal(only.headers.get('oci-filters-applied'), 'artifactType')
  assert.deepEqual(
    (await list(registry, '?artifactType=x/x&artifactType=y/y')).digests,
    [x, y].sort()
  )
  assert.deepEqual((await list(registry, '?artifactType=z/z')).digests, [])
  assert.equal((await list(registry)).headers.get('oci-filters-applied'), null)
})

test('a long list comes page by page, each entry once', async t => {
  const registry = await openRegistry(t)
  const pushed = []
  for (let i = 0; i < 5; i++) pushed.push(await push(registry, { artifactType: 'x/x', i }))
  await push(registry, { artifactType: 'y/y' })
  const seen: string[] = []
  let query = '?n=2&artifactType=x/x'
  while (query !== '') {
    const { digests, headers } = await list(registry, query)
    assert.ok(digests.length > 0 && digests.length <= 2)
    seen.push(...digests)
    query = headers.get('link')?.match(/^<[^?]*(\?.*)>; rel="next"$/)?.[1] ?? ''
  }
  assert.deepEqual(seen, pushed.sort())
})

test('no page of referrers is larger than clients read', async t => {
  const registry = await openRegistry(t)
  for (let i = 0; i < 3; i++) {
    await push(registry, { annotations: { i: `${i}`, text: 'x'.repeat(1_500_000) } })
  }
  const first = await list(registry)
  assert.equal(first.digests.length, 1)
  assert.match(first.headers.get('link') ?? '', /rel="next"/)
})

test('a referrer that is deleted is no longer listed', async t => {
  const registry = await openRegistry(t)
  const digest = await push(registry, {})
  await fetch(`${registry.url}/v2/a/b/manifests/${digest}`, { method: 'DELETE' })
  assert.deepEqual((await list(registry)).digests, [])
})
