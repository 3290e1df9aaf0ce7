import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../../src/digest.ts'
import { assertError, OCI_IMAGE, putImage } from '../fixture.ts'
import { basic, bearer, type Guarded, htpasswd, openGuarded } from './fixture.ts'

const USERS = htpasswd({ ann: 'a', bob: 'b' })
const RULES = `
repositories:
  '**': { pull: [ann] }
  'team/**': { pull: [group:users], push: [ann], delete: [ann] }
  'public/**': { pull: [group:everyone], push: [ann] }
`

function form(fields: Record<string, string>): RequestInit {
  return { method: 'POST', body: new URLSearchParams(fields) }
}

async function statusOf(registry: Guarded, token: string, path: string, method = 'GET') {
  return (await fetch(registry.url + path, { method, headers: bearer(token) })).status
}

test('containerd pushes with a token that it gets by the OAuth2 form', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const manifest = putImage(registry.content, 'x')
  const url = `${registry.url}/v2/team/app/manifests/v1`
  const put = { method: 'PUT', body: manifest, headers: { 'content-type': OCI_IMAGE } }

  const first = await fetch(url, put)
  assert.equal(first.status, 401)
  const [, realm = '', service = '', scope = ''] =
    /Bearer realm="(.*?)",service="(.*?)",scope="(.*?)"/.exec(
      first.headers.get('www-authenticate') ?? ''
    ) ?? []
  assert.equal(scope, 'repository:team/app:pull,push')
  const fields = { grant_type: 'password', service, scope, client_id: 'containerd-client' }
  const answer = await fetch(realm, form({ ...fields, username: 'ann', password: 'a' }))
  assert.equal(answer.status, 200)
  assert.equal(answer.headers.get('content-type'), 'application/json')
  assert.equal(answer.headers.get('cache-control'), 'no-store')
  const token = (await answer.json()) as Record<string, unknown>
  assert.equal(token['expires_in'], 300)
  assert.equal(token['scope'], scope)
  assert.equal(token['issued_at'], new Date(registry.clock.ms).toISOString())
  const headers = { ...put.headers, ...bearer(String(token['access_token'])) }
  assert.equal((await fetch(url, { ...put, headers })).status, 201)
})

test('docker and crane get a token by GET with Basic credentials', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const query = '?account=bob&client_id=docker&offline_token=true&service=starling'
  const token = await registry.token(`${query}&scope=repository:team/app:pull`, basic('bob', 'b'))
  assert.equal(await statusOf(registry, token, '/v2/'), 200)
  assert.equal(await statusOf(registry, token, '/v2/team/app/tags/list'), 404)
  const login = await fetch(`${registry.url}/token${query}`, { headers: basic('bob', 'wrong') })
  await assertError(login, 401, 'UNAUTHORIZED')
  assert.equal(login.headers.get('www-authenticate'), 'Basic realm="Starling"')
})

test('less than was asked for is granted without a word, and what is missing is said when it is used', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const query = '?scope=repository:team/app:pull,push&scope=repository:secret/app:pull'
  const response = await registry.get(`/token${query}`, basic('bob', 'b'))
  const { token, scope } = (await response.json()) as { token: string; scope: string }
  assert.equal(scope, 'repository:team/app:pull')
  assert.equal(await statusOf(registry, token, '/v2/team/app/tags/list'), 404)
  // Bob may not at all: another token would not help.
  assert.equal(await statusOf(registry, token, '/v2/team/app/blobs/uploads/', 'POST'), 403)
  // Bob may, but this token is not for it.
  const other = await registry.get('/v2/team/other/tags/list', bearer(token))
  await assertError(other, 401, 'UNAUTHORIZED')
  assert.match(
    other.headers.get('www-authenticate') ?? '',
    /scope="repository:team\/other:pull",error="insufficient_scope"/
  )
})

test('the catalog needs a token for it, which shows what its bearer may read', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  for (const repository of ['team/app', 'secret/app']) {
    const digest = digestOf(Buffer.from('x'))
    registry.content.manifests.set(`${repository}@${digest}`, {
      ...{ digest, mediaType: OCI_IMAGE, bytes: Buffer.from('x') }
    })
  }
  const narrow = await registry.token('?scope=repository:team/app:pull', basic('bob', 'b'))
  assert.equal(await statusOf(registry, narrow, '/v2/_catalog'), 401)
  const token = await registry.token('?scope=registry:catalog:*', basic('bob', 'b'))
  const response = await registry.get('/v2/_catalog', bearer(token))
  assert.deepEqual(await response.json(), { repositories: ['team/app'] })
  assert.equal(await statusOf(registry, token, '/v2/team/app/tags/list'), 401)
})

test('a stranger gets a token for what strangers may do, or none', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES, anonymous: 'pull' })
  const response = await registry.get(
    '/token?scope=repository:public/a:pull,push&scope=repository:team/app:pull'
  )
  const { token, scope } = (await response.json()) as { token: string; scope: string }
  assert.equal(scope, 'repository:public/a:pull')
  assert.equal(await statusOf(registry, token, '/v2/public/a/tags/list'), 404)
  // Who logs in may do more, so it is 401 and not 403.
  assert.equal(await statusOf(registry, token, '/v2/team/app/tags/list'), 401)

  const closed = await openGuarded(t, { users: USERS, rules: RULES })
  assert.equal((await closed.get('/token')).status, 401)
  const oauth = await fetch(`${closed.url}/token`, form({ grant_type: 'password' }))
  assert.equal(oauth.status, 401)
})

test('a token cannot be changed for a wider one, nor for one that lasts longer', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const token = await registry.token('?scope=repository:team/app:pull', basic('ann', 'a'))
  const response = await registry.get('/token?scope=repository:team/app:push', bearer(token))
  await assertError(response, 401, 'UNAUTHORIZED')
})

test('a token ends with the rights of its user, whatever it says', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const token = await registry.token('?scope=repository:team/app:pull', basic('bob', 'b'))
  assert.equal(await statusOf(registry, token, '/v2/team/app/tags/list'), 404)
  await registry.change({ policy: RULES.replace('group:users', 'ann') })
  assert.equal(await statusOf(registry, token, '/v2/team/app/tags/list'), 403)
  await registry.change({ users: htpasswd({ ann: 'a' }) })
  assert.equal(await statusOf(registry, token, '/v2/team/app/tags/list'), 401)
})

test('a form that is no log-in, or too long, is refused with what containerd falls back on', async t => {
  const registry = await openGuarded(t, { users: USERS })
  const refresh = form({ grant_type: 'refresh_token', refresh_token: 'x' })
  await assertError(await fetch(`${registry.url}/token`, refresh), 400, 'UNSUPPORTED')
  const long = form({ grant_type: 'password', scope: 'x'.repeat(70_000) })
  await assertError(await fetch(`${registry.url}/token`, long), 413, 'SIZE_INVALID')
  const put = await fetch(`${registry.url}/token`, { method: 'PUT', headers: basic('ann', 'a') })
  await assertError(put, 405, 'UNSUPPORTED')
})
