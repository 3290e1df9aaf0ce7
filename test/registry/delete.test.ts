import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { assertError, openRegistry, putImage } from './fixture.ts'

const NOTHING = digestOf(Buffer.from('nothing'))

test('a deleted tag is gone, its manifest is not', async t => {
  const { url, content } = await openRegistry(t)
  const body = putImage(content, 'x')
  const manifests = `${url}/v2/a/b/manifests`
  for (const tag of ['v1', 'v2']) await fetch(`${manifests}/${tag}`, { method: 'PUT', body })
  const deleted = await fetch(`${manifests}/v1`, { method: 'DELETE' })
  assert.equal(deleted.status, 202)
  await assertError(await fetch(`${manifests}/v1`), 404, 'MANIFEST_UNKNOWN')
  for (const reference of ['v2', digestOf(body)]) {
    assert.equal((await fetch(`${manifests}/${reference}`)).status, 200)
  }
  await assertError(await fetch(`${manifests}/v1`, { method: 'DELETE' }), 404, 'MANIFEST_UNKNOWN')
})

test('a deleted manifest is gone with all its tags', async t => {
  const { url, content } = await openRegistry(t)
  const body = putImage(content, 'x')
  const manifests = `${url}/v2/a/b/manifests`
  for (const tag of ['v1', 'v2']) await fetch(`${manifests}/${tag}`, { method: 'PUT', body })
  const digest = digestOf(body)
  assert.equal((await fetch(`${manifests}/${digest}`, { method: 'DELETE' })).status, 202)
  for (const reference of ['v1', 'v2', digest]) {
    await assertError(await fetch(`${manifests}/${reference}`), 404, 'MANIFEST_UNKNOWN')
  }
  const again = await fetch(`${manifests}/${digest}`, { method: 'DELETE' })
  await assertError(again, 404, 'MANIFEST_UNKNOWN')
})

test('a blob is deleted only when no manifest of the repository needs it', async t => {
  const { url, content } = await openRegistry(t)
  const body = putImage(content, 'x')
  await fetch(`${url}/v2/a/manifests/v1`, { method: 'PUT', body })
  const blob = `${url}/v2/a/blobs/${digestOf(Buffer.from('layer of x'))}`
  const refused = await fetch(blob, { method: 'DELETE' })
  assert.equal(refused.headers.get('allow'), 'GET, HEAD')
  await assertError(refused, 405, 'UNSUPPORTED')
  await fetch(`${url}/v2/a/manifests/${digestOf(body)}`, { method: 'DELETE' })
  assert.equal((await fetch(blob, { method: 'DELETE' })).status, 202)
  await assertError(await fetch(blob, { method: 'DELETE' }), 404, 'BLOB_UNKNOWN')
})

test('what is no reference cannot be deleted', async t => {
  const { url } = await openRegistry(t)
  const remove = (path: string) => fetch(`${url}/v2/${path}`, { method: 'DELETE' })
  await assertError(await remove(`a/manifests/${NOTHING}`), 404, 'MANIFEST_UNKNOWN')
  await assertError(await remove('a/manifests/sha256:abc'), 400, 'DIGEST_INVALID')
  await assertError(await remove('a/blobs/latest'), 400, 'DIGEST_INVALID')
  await assertError(await remove('A/manifests/latest'), 400, 'NAME_INVALID')
})
