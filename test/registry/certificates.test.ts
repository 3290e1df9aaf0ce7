import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { RequestOptions } from 'node:https'
import { json, text } from 'node:stream/consumers'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Guard } from '../../src/registry/auth/guard.ts'
import { GuardedAccess } from '../../src/registry/auth/guarded-access.ts'
import { tokenRoutes } from '../../src/registry/auth/token-route.ts'
import { Tls } from '../../src/registry/tls.ts'
import { until } from '../helpers/until.ts'
import { basic, CLUSTER_KEY, htpasswd, temporaryFile } from './auth/fixture.ts'
import { certificate, certificateFiles } from './certificates.ts'
import { ask, authority, openSecured, openTls, server, subjectOf } from './secured.ts'

test('a new certificate is used from the next connection on, and the old ones go on', async t => {
  const registry = await openSecured(t)
  const before = await openTls(t, registry)
  const next = await certificate('next')
  // As files are often replaced: one after the other, and for a while they do not fit.
  await registry.write({ cert: next.cert })
  await registry.tls.reload()
  assert.equal(await subjectOf(t, registry), 'registry')
  await registry.write({ key: next.key })
  await registry.tls.reload()
  assert.equal(await subjectOf(t, registry), 'next')
  before.end('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  assert.match(await text(before), /^HTTP\/1\.1 200 /)
})

test('a change of the files is seen without being told', async t => {
  const registry = await openSecured(t)
  await registry.write(await certificate('next'))
  await until(async () => (await subjectOf(t, registry)) === 'next', {
    what: 'the new certificate'
  })
})

test('files that cannot be used are refused at start, and named', async t => {
  const { files } = await certificateFiles(t, server, authority)
  const other = await certificateFiles(t, await certificate('other'), server)
  const rejects = (given: Parameters<typeof Tls.open>[0], words: RegExp) =>
    assert.rejects(Tls.open(given, silentLog), error => {
      return isCode(error, 'CONFIG_INVALID') && words.test(error.message)
    })
  await rejects({ ...files, key: other.files.key }, /tls\.key.*mismatch/)
  await rejects({ ...files, cert: `${files.cert}.none` }, /--tls-cert: .*tls\.crt\.none: ENOENT/)
  await rejects({ ...files, cert: files.key }, /cannot use/)
  await rejects({ ...files, clientCa: files.key }, /cannot use/)
})

test('a client certificate logs in the user of its common name, and one of a stranger is refused', async t => {
  const rules = "repositories: { 'a/**': { pull: [ann] }, 'b/**': { pull: [bob] } }"
  const guard = await Guard.open({
    htpasswd: (await temporaryFile(t, htpasswd({ bob: 'b' }))).path,
    policy: (await temporaryFile(t, rules)).path,
    certificates: true,
    clusterKeys: () => [CLUSTER_KEY],
    log: silentLog
  })
  t.after(() => guard.close())
  const access = new GuardedAccess(guard, silentLog)
  const options = { access, otherRoutes: tokenRoutes(guard) }
  const registry = await openSecured(t, options, authority)
  const ann = await certificate('ann', authority)
  const status = async (path: string, given: RequestOptions) => {
    const response = await ask(registry, path, { agent: false, ...given })
    response.resume()
    return response.statusCode
  }
  assert.equal(await status('/v2/a/x/tags/list', ann), 404)
  assert.equal(await status('/v2/b/x/tags/list', ann), 403)
  // What is said in the request is more than how it came.
  assert.equal(await status('/v2/b/x/tags/list', { ...ann, headers: basic('bob', 'b') }), 404)
  assert.equal(await status('/v2/a/x/tags/list', { ...ann, headers: basic('bob', 'x') }), 401)
  assert.equal(await status('/v2/a/x/tags/list', {}), 401)
  assert.equal((await fetch(`${registry.url}/v2/a/x/tags/list`)).status, 401)

  const strange = await certificate('ann', await certificate('authority'))
  await assert.rejects(status('/v2/a/x/tags/list', strange))
  await assert.rejects(status('/v2/a/x/tags/list', await certificate('ann')))

  const response = await ask(registry, '/token?scope=repository:a/x:pull', { agent: false, ...ann })
  const { token } = (await json(response)) as { token: string }
  const headers = { authorization: `Bearer ${token}` }
  assert.equal((await fetch(`${registry.url}/v2/a/x/tags/list`, { headers })).status, 404)
})

test('an authority that was replaced vouches for nobody any more, resumed sessions included', async t => {
  const guard = await Guard.open({
    ...{ certificates: true, clusterKeys: () => [CLUSTER_KEY], log: silentLog }
  })
  t.after(() => guard.close())
  const registry = await openSecured(t, { access: new GuardedAccess(guard, silentLog) }, authority)
  const ann = await certificate('ann', authority)
  const sessions: Buffer[] = []
  const first = await openTls(t, registry, { ...ann })
  first.on('session', session => sessions.push(session))
  first.end('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
  assert.match(await text(first), /^HTTP\/1\.1 200 /)
  await registry.write({}, await certificate('next authority'))
  await registry.tls.reload()
  for (const session of [undefined, ...sessions]) {
    const again = connectTls({
      ...{ host: '127.0.0.1', port: registry.port, ca: server.cert, ...ann },
      ...(session && { session })
    })
    t.after(() => again.destroy())
    again.on('error', () => {})
    again.write('GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n')
    await once(again.resume(), 'close')
    assert.equal(again.bytesRead > 0 && again.isSessionReused(), false)
  }
})

test('over TLS tokens come from https', async t => {
  const users = (await temporaryFile(t, htpasswd({ ann: 'a' }))).path
  const options = { htpasswd: users, clusterKeys: () => [CLUSTER_KEY], log: silentLog }
  const guard = await Guard.open(options)
  t.after(() => guard.close())
  const registry = await openSecured(t, { access: new GuardedAccess(guard, silentLog) })
  const response = await ask(registry, '/v2/', { agent: false })
  const challenge = response.headers['www-authenticate'] ?? ''
  assert.match(challenge, new RegExp(`realm="https://127\\.0\\.0\\.1:${registry.port}/token"`))
  response.resume()
})
