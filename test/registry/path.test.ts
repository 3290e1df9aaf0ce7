import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parsePath, rewriteUrl } from '../../src/registry/path.ts'

test('the endpoints of the specification are told apart', () => {
  assert.deepEqual(parsePath('/'), { kind: 'root' })
  assert.deepEqual(parsePath('/v2'), { kind: 'version' })
  assert.deepEqual(parsePath('/v2/'), { kind: 'version' })
  assert.deepEqual(parsePath('/v2/_catalog'), { kind: 'catalog' })
  assert.deepEqual(parsePath('/v2/a/b/tags/list'), { kind: 'tags', name: 'a/b' })
  assert.deepEqual(parsePath('/v2/a/b/blobs/uploads/'), { kind: 'uploads', name: 'a/b' })
  assert.deepEqual(parsePath('/v2/a/blobs/uploads'), { kind: 'uploads', name: 'a' })
  assert.deepEqual(parsePath('/v2/a/blobs/uploads/x'), { kind: 'upload', name: 'a', last: 'x' })
  assert.deepEqual(parsePath('/v2/a/blobs/sha256:0'), { kind: 'blob', name: 'a', last: 'sha256:0' })
  assert.deepEqual(parsePath('/v2/a/manifests/v1'), { kind: 'manifest', name: 'a', last: 'v1' })
  assert.deepEqual(parsePath('/v2/_oci/ext/discover'), { kind: 'discover' })
  assert.deepEqual(parsePath('/v2/a/_oci/ext/discover'), { kind: 'discoverIn', name: 'a' })
  assert.deepEqual(parsePath('/v2/a/referrers/d'), { kind: 'referrers', name: 'a', last: 'd' })
})

test('a name may have segments that look like endpoints', () => {
  const cases: [string, string, string][] = [
    ['/v2/blobs/blobs/blobs/x', 'blob', 'blobs/blobs'],
    ['/v2/a/blobs/uploads/manifests/latest', 'manifest', 'a/blobs/uploads'],
    ['/v2/a/blobs/uploads/blobs/x', 'blob', 'a/blobs/uploads'],
    ['/v2/manifests/tags/tags/list', 'tags', 'manifests/tags'],
    ['/v2/a/manifests/blobs/uploads/', 'uploads', 'a/manifests'],
    ['/v2/a/manifests/blobs/uploads/id', 'upload', 'a/manifests'],
    ['/v2/a/tags/list/manifests/list', 'manifest', 'a/tags/list']
  ]
  for (const [path, kind, name] of cases) {
    const endpoint = parsePath(path)
    assert.equal(endpoint?.kind, kind, path)
    assert.equal(endpoint !== undefined && 'name' in endpoint && endpoint.name, name, path)
  }
})

test('what is no endpoint is nowhere', () => {
  for (const path of [
    '',
    '/v1/',
    '/v2/a',
    '/v2/tags/list',
    '/v2/blobs/uploads/',
    '/v2/a/manifests/',
    '/v2/a/constructor/x',
    '/v2/a/__proto__/x'
  ]) {
    assert.equal(parsePath(path), undefined, path)
    assert.equal(rewriteUrl(`${path}?q`), '/-?q', path)
  }
})

test('a name is taken as it is written, the last part may be percent-encoded', () => {
  assert.equal(rewriteUrl('/v2/a/b/blobs/sha256%3A00?x=1'), '/v2/a%2Fb/blobs/sha256%3A00?x=1')
  assert.equal(rewriteUrl('/v2/a%2fb/manifests/v1'), '/v2/a%252fb/manifests/v1')
  assert.equal(rewriteUrl('http://host:5000/v2/a/manifests/v1?x'), '/v2/a/manifests/v1?x')
})

test('any URL is rewritten to one that a router can decode', () => {
  const part = fc.oneof(
    fc.constantFrom(
      'blobs',
      'uploads',
      'manifests',
      'tags',
      'list',
      '',
      '..',
      '%2f',
      '%',
      '%00',
      '$&'
    ),
    fc.string()
  )
  fc.assert(
    fc.property(fc.array(part), parts => {
      const [path] = rewriteUrl(`/v2/${parts.join('/')}`).split(/[?#]/)
      decodeURIComponent(path ?? '')
    })
  )
})
