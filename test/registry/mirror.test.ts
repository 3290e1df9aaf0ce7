import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { OPEN_ACCESS } from '../../src/registry/access.ts'
import { rewriteUrl } from '../../src/registry/path.ts'
import { assertError, openRegistry, putImage } from './fixture.ts'

test('a pull with a namespace is one of the repository below that name', async t => {
  const { url, content } = await openRegistry(t)
  const body = putImage(content, 'x')
  const path = 'docker.io/library/nginx/manifests/1'
  await fetch(`${url}/v2/${path}`, { method: 'PUT', body })
  for (const ns of ['docker.io', 'index.docker.io', 'registry-1.docker.io', 'Docker.io']) {
    const response = await fetch(`${url}/v2/library/nginx/manifests/1?ns=${ns}`)
    assert.equal(response.status, 200)
    assert.equal(response.headers.get('oci-namespace'), ns)
    assert.equal(response.headers.get('docker-content-digest'), digestOf(body))
  }
  const direct = await fetch(`${url}/v2/${path}`)
  assert.equal(direct.status, 200)
  assert.equal(direct.headers.get('oci-namespace'), null)
  const twice = await fetch(`${url}/v2/${path}?ns=docker.io`)
  assert.equal(twice.status, 200)
  const bare = await fetch(`${url}/v2/library/nginx/manifests/1`)
  await assertError(bare, 404, 'MANIFEST_UNKNOWN')
  const other = await fetch(`${url}/v2/library/nginx/manifests/1?ns=quay.io`)
  await assertError(other, 404, 'MANIFEST_UNKNOWN')
})

test('a mirror may also give what was pushed under the bare name', async t => {
  const access = { ...OPEN_ACCESS, mayPull: (_: unknown, name: string) => name !== 'secret' }
  const { url, content } = await openRegistry(t, { mirrorBare: true, access })
  const [old, now] = [putImage(content, 'old'), putImage(content, 'now')]
  const put = (path: string, body: Buffer) => fetch(`${url}/v2/${path}`, { method: 'PUT', body })
  const digestAt = async (path: string) => {
    const response = await fetch(`${url}/v2/${path}?ns=docker.io`, { method: 'HEAD' })
    return response.headers.get('docker-content-digest')
  }
  await put('nginx/manifests/1', old)
  await put('secret/manifests/1', old)
  assert.equal(await digestAt('nginx/manifests/1'), digestOf(old))
  assert.equal(await digestAt('secret/manifests/1'), null)
  assert.notEqual(await digestAt(`nginx/blobs/${digestOf(Buffer.from('layer of old'))}`), null)
  await put('docker.io/nginx/manifests/1', now)
  assert.equal(await digestAt('nginx/manifests/1'), digestOf(now))
})

test('a namespace with a port, and one that cannot be part of a name', async t => {
  assert.equal(rewriteUrl('/v2/a/manifests/1?ns=r:5000'), '/v2/r_5000%2Fa/manifests/1?ns=r:5000')
  assert.equal(rewriteUrl('/v2/?ns=r'), '/v2/?ns=r')
  const { url } = await openRegistry(t)
  for (const ns of ['..', '%0d%0aX:1', 'a b', '%5B::1%5D:5000']) {
    await assertError(await fetch(`${url}/v2/a/manifests/1?ns=${ns}`), 400, 'NAME_INVALID')
  }
})

test('which extensions there are can be asked of the registry and of a repository', async t => {
  const { url } = await openRegistry(t)
  for (const path of ['/v2/_oci/ext/discover', '/v2/a/b/_oci/ext/discover']) {
    const response = await fetch(url + path)
    assert.equal(response.headers.get('content-type'), 'application/json')
    const { extensions } = JSON.parse(await response.text())
    const names = extensions.map(({ name }: { name: string }) => name)
    assert.deepEqual(names, ['_oci', '_catalog'])
  }
})
