import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../../src/digest.ts'
import { StarlingError } from '../../../src/errors.ts'
import { MAX_PASSWORD_BYTES, parseAuthorization } from '../../../src/registry/auth/authorization.ts'
import { isLoopback, warnOfStrangers } from '../../../src/registry/auth/strangers.ts'
import { assertError, OCI_IMAGE, putImage } from '../fixture.ts'
import { basic, type Guarded, htpasswd, openGuarded, recordingLog } from './fixture.ts'

const USERS = htpasswd({ ann: 'a', bob: 'b', root: 'r' })
const RULES = `
repositories:
  '**': { pull: [root], push: [root], delete: [root] }
  'team/**': { pull: [ann, bob, root], push: [ann, root], delete: [ann, root] }
  'public/**': { pull: [group:everyone], push: [root], delete: [root] }
`
const BLOB = digestOf(Buffer.from('blob'))

/** What is asked of a repository, one request for each way to ask. */
function requestsTo(name: string): Record<'pull' | 'push' | 'delete', [string, string][]> {
  return {
    pull: [
      ['GET', `/v2/${name}/manifests/v1`],
      ['HEAD', `/v2/${name}/manifests/v1`],
      ['GET', `/v2/${name}/blobs/${BLOB}`],
      ['HEAD', `/v2/${name}/blobs/${BLOB}`],
      ['GET', `/v2/${name}/tags/list`],
      ['GET', `/v2/${name}/referrers/${BLOB}`]
    ],
    push: [
      ['PUT', `/v2/${name}/manifests/v1`],
      ['POST', `/v2/${name}/blobs/uploads/`],
      ['PATCH', `/v2/${name}/blobs/uploads/x`],
      ['PUT', `/v2/${name}/blobs/uploads/x?digest=${BLOB}`],
      ['GET', `/v2/${name}/blobs/uploads/x`],
      ['DELETE', `/v2/${name}/blobs/uploads/x`]
    ],
    delete: [
      ['DELETE', `/v2/${name}/manifests/v1`],
      ['DELETE', `/v2/${name}/manifests/${BLOB}`],
      ['DELETE', `/v2/${name}/blobs/${BLOB}`]
    ]
  }
}

test('every endpoint asks for a password with quoted realms, and only / answers without', async t => {
  const registry = await openGuarded(t, { users: USERS })
  const all = Object.values(requestsTo('team/app')).flat()
  const others = ['/v2/', '/v2/_catalog', '/v2/_oci/ext/discover', '/nothing', '/v2/a/nothing']
  for (const [method, path] of [...all, ...others.map(path => ['GET', path] as const)]) {
    const response = await fetch(registry.url + path, { method })
    assert.equal(response.status, 401, `${method} ${path}`)
    const challenge = response.headers.get('www-authenticate') ?? ''
    assert.match(
      challenge,
      new RegExp(`^Basic realm="Starling", Bearer realm="${registry.url}/token",service="starling"`)
    )
    assert.equal(response.headers.get('docker-distribution-api-version'), 'registry/2.0')
    if (method !== 'HEAD') await assertError(response, 401, 'UNAUTHORIZED')
  }
  for (const method of ['GET', 'HEAD']) {
    assert.equal((await fetch(`${registry.url}/`, { method })).status, 200)
  }
  assert.equal(registry.check.count, 0)
})

test('a user may do what the rules say; anything else is 403, whether it exists or not', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const verdicts = async (user: string, password: string, name: string) => {
    const found: Record<string, boolean> = {}
    for (const [action, requests] of Object.entries(requestsTo(name))) {
      const statuses = await Promise.all(
        requests.map(async ([method, path]) => {
          const response = await fetch(registry.url + path, {
            method,
            headers: basic(user, password)
          })
          assert.equal(response.headers.get('www-authenticate'), null)
          return response.status
        })
      )
      assert.ok(!statuses.includes(401), statuses.join())
      assert.equal(new Set(statuses.map(status => status === 403)).size, 1, statuses.join())
      found[action] = statuses[0] !== 403
    }
    return found
  }
  putImage(registry.content, 'x')
  assert.deepEqual(await verdicts('ann', 'a', 'team/app'), { pull: true, push: true, delete: true })
  assert.deepEqual(await verdicts('bob', 'b', 'team/app'), {
    pull: true,
    push: false,
    delete: false
  })
  const nothing = { pull: false, push: false, delete: false }
  assert.deepEqual(await verdicts('bob', 'b', 'secret/app'), nothing)
  assert.deepEqual(await verdicts('root', 'r', 'secret/app'), {
    ...{ pull: true, push: true, delete: true }
  })
  const denied = await registry.get('/v2/secret/app/manifests/v1', basic('bob', 'b'))
  await assertError(denied, 403, 'DENIED')
})

test('wrong credentials are 401 everywhere, also where none are needed', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES, anonymous: 'pull' })
  const wrong = [
    basic('ann', 'A'),
    basic('nobody', 'a'),
    basic('ann', ''),
    basic('', 'a'),
    basic('ann', `a${'a'.repeat(MAX_PASSWORD_BYTES)}`),
    basic('ann', 'a\0b'),
    { authorization: 'Basic' },
    { authorization: 'Basic !!!' },
    { authorization: 'Bearer x' },
    { authorization: 'Negotiate abc' }
  ]
  for (const headers of wrong) {
    for (const path of ['/v2/', '/v2/public/nginx/manifests/v1', '/v2/_catalog']) {
      const response = await registry.get(path, headers)
      assert.equal(response.status, 401, headers.authorization)
      assert.match(response.headers.get('www-authenticate') ?? '', /^Basic realm="Starling"/)
    }
  }
  const bearer = await registry.get('/v2/', { authorization: 'Bearer x' })
  assert.match(bearer.headers.get('www-authenticate') ?? '', /error="invalid_token"/)
})

test('with anonymous pull, strangers read what the rules give to everyone and no more', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES, anonymous: 'pull' })
  const status = async (method: string, path: string, headers = {}) =>
    (await fetch(registry.url + path, { method, headers })).status
  for (const [method, path] of requestsTo('public/nginx').pull) {
    // Containers/image sends an empty user and password when it has none.
    for (const headers of [{}, basic('', '')]) {
      assert.notEqual(await status(method, path, headers), 401, `${method} ${path}`)
    }
  }
  for (const [method, path] of [
    ...requestsTo('public/nginx').push,
    ...requestsTo('public/nginx').delete,
    ...requestsTo('team/app').pull
  ]) {
    assert.equal(await status(method, path), 401, `${method} ${path}`)
  }
})

test('the anonymous switch stands before the rules', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  assert.equal((await registry.get('/v2/public/nginx/tags/list')).status, 401)
  const open = "repositories: { '**': { pull: [group:everyone], push: [group:everyone] } }"
  const pull = await openGuarded(t, { users: USERS, rules: open, anonymous: 'pull' })
  const post = { method: 'POST' }
  assert.equal((await fetch(`${pull.url}/v2/a/blobs/uploads/`, post)).status, 401)
  const push = await openGuarded(t, { users: USERS, rules: open, anonymous: 'push' })
  assert.equal((await fetch(`${push.url}/v2/a/blobs/uploads/`, post)).status, 202)
  assert.equal((await fetch(`${push.url}/v2/a/manifests/v1`, { method: 'DELETE' })).status, 401)
})

test('without users everyone may do all, and passwords of former times do no harm', async t => {
  const registry = await openGuarded(t)
  for (const headers of [{}, basic('ann', 'a'), { authorization: 'nonsense' }]) {
    assert.equal((await registry.get('/v2/', headers)).status, 200)
    const post = { method: 'POST', headers }
    assert.equal((await fetch(`${registry.url}/v2/a/blobs/uploads/`, post)).status, 202)
  }
})

test('without users what is not allowed is 403: no password would help', async t => {
  const registry = await openGuarded(t, { anonymous: 'pull' })
  assert.equal((await registry.get('/v2/')).status, 200)
  const post = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST' })
  await assertError(post, 403, 'DENIED')
})

test('the catalog shows what may be read, in full pages', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const manifest = putImage(registry.content, 'x')
  const names = [1, 2, 3].flatMap(n => [`public/${n}`, `secret/${n}`, `team/${n}`]).toSorted()
  const headers = { ...basic('root', 'r'), 'content-type': OCI_IMAGE }
  for (const name of names) {
    const url = `${registry.url}/v2/${name}/manifests/v1`
    assert.equal((await fetch(url, { method: 'PUT', headers, body: manifest })).status, 201)
  }
  assert.deepEqual(await catalog(registry, basic('root', 'r')), names)
  const readable = names.filter(name => !name.startsWith('secret'))
  assert.deepEqual(await catalog(registry, basic('bob', 'b')), readable)
  assert.deepEqual(await catalog(registry, basic('bob', 'b'), 2), readable)
})

test('each change, and each that was refused, is one line in the log, without what proves who asks', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const manifest = putImage(registry.content, 'x')
  const put = (user: string, password: string) =>
    fetch(`${registry.url}/v2/team/app/manifests/v1`, {
      method: 'PUT',
      headers: { ...basic(user, password), 'content-type': OCI_IMAGE },
      body: manifest
    })
  await put('ann', 'a')
  await put('bob', 'b')
  await put('bob', 'guess')
  await fetch(`${registry.url}/v2/team/app/manifests/v1`, { method: 'PUT', body: manifest })
  await registry.get('/v2/team/app/manifests/v1', basic('bob', 'b'))
  await fetch(`${registry.url}/v2/team/app/manifests/none`, {
    method: 'DELETE',
    headers: basic('ann', 'a')
  })
  registry.content.putManifest = async () => {
    throw new StarlingError('UNAVAILABLE', 'this node is still catching up')
  }
  await put('ann', 'a')
  await registry.server.close({ deadlineMs: 1_000 })
  const lines = registry.lines.filter(({ audit }) => audit !== undefined)
  const common = { from: '127.0.0.1', method: 'PUT', repository: 'team/app', reference: 'v1' }
  const seen = lines.map(({ audit, user, via, status, from, method, repository, reference }) => ({
    ...{ audit, user, via, status, from, method, repository, reference }
  }))
  assert.deepEqual(seen, [
    { audit: 'change', user: 'ann', via: 'password', status: 201, ...common },
    { audit: 'refused', user: 'bob', via: 'password', status: 403, ...common },
    { audit: 'refused', user: null, via: 'wrong credentials', status: 401, ...common },
    {
      ...{ audit: 'refused', user: 'ann', via: 'password', status: 404, ...common },
      ...{ method: 'DELETE', reference: 'none' }
    },
    { audit: 'unacknowledged', user: 'ann', via: 'password', status: 503, ...common }
  ])
  const words = lines.map(({ msg }) => msg)
  assert.equal(words[0], 'registry changed')
  assert.equal(words.lastIndexOf('registry changed'), 0)
  assert.equal(lines[0]?.['digest'], digestOf(manifest))
  assert.doesNotMatch(JSON.stringify(registry.lines), /guess|Basic |authorization/i)
  assert.equal(registry.lines.filter(({ msg }) => msg === 'log-in refused').length, 1)
})

test('a node that anyone may push to says so, unless only this machine reaches it', async t => {
  const warnings = (registry: Guarded, hosts: readonly string[]) => {
    const { log, lines } = recordingLog()
    warnOfStrangers(registry.guard, hosts, log)
    return lines.length
  }
  const open = await openGuarded(t)
  assert.equal(warnings(open, ['127.0.0.1', '::1', 'localhost', '127.1.2.3']), 0)
  for (const host of ['0.0.0.0', '::', '10.0.0.1', 'node-1'])
    assert.equal(warnings(open, [host]), 1)
  assert.equal(warnings(await openGuarded(t, { users: USERS }), ['0.0.0.0']), 0)
  assert.equal(warnings(await openGuarded(t, { anonymous: 'pull' }), ['0.0.0.0']), 0)
  assert.equal(warnings(await openGuarded(t, { rules: RULES }), ['0.0.0.0']), 0)
  assert.ok(isLoopback('127.255.255.255') && !isLoopback('128.0.0.1'))
})

test('any Authorization header is read or unreadable, and a good one is read back', () => {
  fc.assert(
    fc.property(fc.string(), text => {
      assert.ok(parseAuthorization(text).kind !== undefined)
      assert.ok(parseAuthorization(`Basic ${text}`).kind !== 'token')
    })
  )
  const visible = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 12 })
  fc.assert(
    fc.property(visible, visible, (name, password) => {
      const user = name.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}:\\]/gu, '_')
      const { authorization } = basic(user, password)
      const read = parseAuthorization(authorization)
      if (Buffer.byteLength(password) > MAX_PASSWORD_BYTES) return
      assert.deepEqual(read, { kind: 'password', user, password })
    })
  )
})

async function catalog(
  registry: Guarded,
  headers: Record<string, string>,
  pageSize?: number
): Promise<string[]> {
  const found: string[] = []
  let path: string | undefined = `/v2/_catalog${pageSize === undefined ? '' : `?n=${pageSize}`}`
  while (path !== undefined) {
    const response: Response = await registry.get(path, headers)
    const { repositories } = (await response.json()) as { repositories: string[] }
    if (pageSize !== undefined && response.headers.has('link')) {
      assert.equal(repositories.length, pageSize)
    }
    found.push(...repositories)
    path = /^<(.*)>/.exec(response.headers.get('link') ?? '')?.[1]
  }
  return found
}
