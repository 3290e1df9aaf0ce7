import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../../src/digest.ts'
import type { Content } from '../../../src/registry/content.ts'
import { parseRepository } from '../../../src/registry/names.ts'
import { assertError, exchange, locationOf, OCI_IMAGE, putImage } from '../fixture.ts'
import { basic, bearer, htpasswd, openGuarded } from './fixture.ts'

/** Lessons that other registries paid for, as far as they are about who may do what. */

const USERS = htpasswd({ ann: 'a', bob: 'b', eve: 'e' })
const RULES = `
groups:
  team: [ann, bob]
repositories:
  'team/**': { pull: [group:team], push: [group:team], delete: [ann] }
  'eve/**': { pull: [eve], push: [eve], delete: [eve] }
`

test('CVE-2024-39897: a blob of a repository that one may not read cannot be mounted from it', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const bytes = Buffer.from('a secret of the team')
  const digest = digestOf(bytes)
  registry.content.blobs.set(digest, bytes)
  const mounted: string[] = []
  const content: Content = registry.content
  content.mount = async (_into, _digest, from, mayPull) => {
    for (const name of from === undefined ? ['team/app', 'eve/old'] : [from]) {
      if (mayPull(parseRepository(name))) mounted.push(name)
    }
    return mounted.length > 0
  }
  const mount = (headers: Record<string, string>, query: string) =>
    fetch(`${registry.url}/v2/eve/app/blobs/uploads/?mount=${digest}${query}`, {
      ...{ method: 'POST', headers }
    })
  assert.equal((await mount(basic('eve', 'e'), '&from=team/app')).status, 202)
  assert.deepEqual(mounted, [])
  // Without a source, only what the client may read anyway is looked through.
  await mount(basic('eve', 'e'), '')
  assert.deepEqual(mounted, ['eve/old'])
  mounted.length = 0
  // A token is for what it says, and a mount reads from its source too.
  const query = '?scope=repository:eve/app:pull,push'
  const narrow = await registry.token(query, basic('eve', 'e'))
  assert.equal((await mount(bearer(narrow), '&from=eve/old')).status, 202)
  assert.deepEqual(mounted, [])
  const wide = await registry.token(`${query}&scope=repository:eve/old:pull`, basic('eve', 'e'))
  assert.equal((await mount(bearer(wide), '&from=eve/old')).status, 201)

  for (const method of ['GET', 'HEAD']) {
    const headers = basic('eve', 'e')
    const response = await fetch(`${registry.url}/v2/team/app/blobs/${digest}`, { method, headers })
    assert.equal(response.status, 403)
  }
})

test('CVE-2025-23208: who is taken out of a group has lost its rights', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const scope = '?scope=repository:team/app:pull,push'
  const token = await registry.token(scope, basic('bob', 'b'))
  const credentials = [basic('bob', 'b'), bearer(token)]
  const statuses = () =>
    Promise.all(
      credentials.map(
        async headers => (await registry.get('/v2/team/app/tags/list', headers)).status
      )
    )
  assert.deepEqual(await statuses(), [404, 404])
  await registry.change({ policy: RULES.replace('[ann, bob]', '[ann]') })
  assert.deepEqual(await statuses(), [403, 403])
  const response = await registry.get(`/token${scope}`, basic('bob', 'b'))
  assert.equal(((await response.json()) as { scope: string }).scope, '')
})

test('CVE-2026-41888: every way to delete goes through one gate', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const digest = digestOf(Buffer.from('x'))
  const paths = ['manifests/latest', `manifests/${digest}`, `blobs/${digest}`]
  const token = await registry.token('?scope=repository:team/app:*', basic('bob', 'b'))
  for (const path of paths) {
    for (const headers of [basic('bob', 'b'), bearer(token)]) {
      const url = `${registry.url}/v2/team/app/${path}?ns=&tag=latest`
      const { status } = await fetch(url, { method: 'DELETE', headers })
      assert.equal(status, 403, path)
    }
  }
})

test('CVE-2026-31801: no tag is more free to be overwritten than another', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const body = putImage(registry.content, 'x')
  for (const tag of ['latest', 'v1', digestOf(body)]) {
    const put = (user: string, password: string) =>
      fetch(`${registry.url}/v2/team/app/manifests/${tag}`, {
        ...{ method: 'PUT', body },
        headers: { ...basic(user, password), 'content-type': OCI_IMAGE }
      })
    assert.equal((await put('eve', 'e')).status, 403)
    assert.equal((await put('ann', 'a')).status, 201)
    assert.equal((await put('eve', 'e')).status, 403)
  }
})

test('CVE-2026-33540: a challenge leads to the host that the client asked, and nowhere else', async t => {
  const registry = await openGuarded(t, { users: USERS })
  const response = await registry.get('/v2/?realm=http://evil.example&service=evil', {
    'x-forwarded-host': 'evil.example',
    'x-original-host': 'evil.example'
  })
  const [, realm = ''] =
    /realm="(http[^"]*)"/.exec(response.headers.get('www-authenticate') ?? '') ?? []
  assert.equal(realm, `${registry.url}/token`)
})

test('CVE-2025-48374: no secret gets into the log, however a request ends', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const token = await registry.token('?scope=repository:team/app:pull', basic('ann', 'a-secret'))
  await registry.get('/v2/team/app/tags/list', basic('ann', 'b-secret'))
  await registry.get('/v2/team/app/tags/list', bearer(`c-secret${token}`))
  await fetch(`${registry.url}/token`, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'password', username: 'ann', password: 'd-secret' })
  })
  await registry.server.close({ deadlineMs: 1_000 })
  const text = JSON.stringify(registry.lines)
  assert.match(text, /log-in refused/)
  const base64 = ['a', 'b', 'd'].map(x => Buffer.from(`ann:${x}-secret`).toString('base64'))
  for (const secret of ['-secret', ...base64]) assert.ok(!text.includes(secret), secret)
})

test("an upload is its beginner's: nobody else sees, continues, finishes or cancels it", async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const begun = await fetch(`${registry.url}/v2/team/app/blobs/uploads/`, {
    ...{ method: 'POST', headers: basic('ann', 'a') }
  })
  const location = locationOf(registry, begun)
  const bytes = Buffer.from('x')
  const url = `${location}?digest=${digestOf(bytes)}`
  const ways: [string, string, Buffer | undefined][] = [
    ['GET', location, undefined],
    ['PATCH', location, bytes],
    ['PUT', url, bytes],
    ['DELETE', location, undefined]
  ]
  for (const [method, to, body] of ways) {
    const headers = basic('bob', 'b')
    const response = await fetch(to, { method, headers, ...(body && { body }) })
    await assertError(response, 404, 'BLOB_UPLOAD_UNKNOWN')
  }
  const token = await registry.token('?scope=repository:team/app:push', basic('ann', 'a'))
  const finished = await fetch(url, { method: 'PUT', headers: bearer(token), body: bytes })
  assert.equal(finished.status, 201)
})

test('a namespace in the query is part of the name that the rules are asked about', async t => {
  const rules = `
repositories:
  'a': { pull: [eve] }
  'docker.io/**': { pull: [ann] }
`
  const registry = await openGuarded(t, { users: USERS, rules })
  const status = async (path: string, user: string, password: string) =>
    (await registry.get(path, basic(user, password))).status
  assert.equal(await status('/v2/a/tags/list', 'eve', 'e'), 404)
  for (const ns of ['docker.io', 'index.docker.io', 'DOCKER.io']) {
    assert.equal(await status(`/v2/a/tags/list?ns=${ns}`, 'eve', 'e'), 403)
    assert.equal(await status(`/v2/a/tags/list?ns=${ns}`, 'ann', 'a'), 404)
  }
})

test('names that are no names are judged as they are, and never reach what is stored', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const names = [
    'eve/../team/app',
    'eve/%2e%2e/team/app',
    'eve%2f..%2fteam/app',
    'EVE/app',
    'eve//app'
  ]
  for (const name of names) {
    // A client that knows URLs would tidy the path up.
    const { authorization } = basic('eve', 'e')
    const head = `GET /v2/${name}/manifests/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n`
    const answer = await exchange(t, registry, `${head}Authorization: ${authorization}\r\n\r\n`)
    assert.match(answer, /^HTTP\/1\.1 (400|403|404) /, name)
  }
})
