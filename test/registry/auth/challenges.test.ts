import assert from 'node:assert/strict'
import { type IncomingMessage, request } from 'node:http'
import { test } from 'node:test'
import { exchange } from '../fixture.ts'
import { basic, htpasswd, openGuarded } from './fixture.ts'

const USERS = htpasswd({ ann: 'a', root: 'r' })
const RULES = `
repositories:
  'public/**': { pull: [group:everyone], push: [root], delete: [root] }
`

test('each challenge is a field of its own, Basic first, since oras reads only the first', async t => {
  const registry = await openGuarded(t, { users: USERS })
  const raw =
    'POST /v2/team/app/blobs/uploads/ HTTP/1.1\r\nHost: reg.example:5000\r\nConnection: close\r\n'
  const answer = await exchange(t, registry, `${raw}Content-Length: 0\r\n\r\n`)
  assert.deepEqual(answer.match(/^www-authenticate: .*$/gim), [
    'www-authenticate: Basic realm="Starling"',
    'www-authenticate: Bearer realm="http://reg.example:5000/token",service="starling",scope="repository:team/app:pull,push"'
  ])
})

test('where some need a password and some do not, the ping offers a token to those without', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES, anonymous: 'pull' })
  const ping = await registry.get('/v2/')
  assert.equal(ping.status, 401)
  assert.match(ping.headers.get('www-authenticate') ?? '', /^Bearer realm=/)
  const token = await registry.token('?service=starling&scope=repository:public/nginx:pull')
  const headers = { authorization: `Bearer ${token}` }
  assert.equal((await registry.get('/v2/', headers)).status, 200)
  assert.equal((await registry.get('/v2/public/nginx/tags/list', headers)).status, 404)
  assert.equal((await registry.get('/v2/', basic('ann', 'a'))).status, 200)
})

test('headers that anyone can send change neither who asks nor where tokens come from', async t => {
  const registry = await openGuarded(t, { users: USERS })
  const forged = {
    'x-forwarded-for': '10.1.1.1',
    'x-forwarded-host': 'evil.example',
    'x-forwarded-proto': 'https',
    forwarded: 'for=10.1.1.1;host=evil.example;proto=https',
    'x-forwarded-user': 'root',
    'x-remote-user': 'root'
  }
  const response = await fetch(`${registry.url}/v2/a/manifests/v1`, {
    method: 'DELETE',
    headers: { ...forged, ...basic('ann', 'wrong') }
  })
  assert.equal(response.status, 401)
  assert.doesNotMatch(response.headers.get('www-authenticate') ?? '', /evil|https/)
  const [line] = registry.lines.filter(({ audit }) => audit !== undefined)
  assert.equal(line?.['from'], '127.0.0.1')
})

test('a Host that is none is not put into a challenge', async t => {
  const registry = await openGuarded(t, { users: USERS })
  for (const host of ['a"b', 'a/b', 'a b', 'user@evil', '[::1', 'a:b']) {
    const client = request({
      port: registry.port,
      host: '127.0.0.1',
      path: '/v2/',
      headers: { host }
    })
    const response = await new Promise<IncomingMessage>(resolve =>
      client.once('response', resolve).end()
    )
    response.resume()
    assert.equal(response.headers['www-authenticate'], 'Basic realm="Starling"', host)
  }
})

test('behind a proxy that ends TLS, tokens come from where the operator says', async t => {
  const publicUrl = new URL('https://registry.example')
  const registry = await openGuarded(t, { users: USERS, publicUrl })
  const challenge = (await registry.get('/v2/')).headers.get('www-authenticate') ?? ''
  assert.match(challenge, /Bearer realm="https:\/\/registry\.example\/token",/)
})
