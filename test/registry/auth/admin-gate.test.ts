import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { AdminServer } from '../../../src/admin/server.ts'
import { silentLog } from '../../../src/log.ts'
import { adminGate } from '../../../src/registry/auth/admin-gate.ts'
import { ScriptedNode } from '../../admin/scripted-node.ts'
import { basic, bearer, type GuardedOptions, htpasswd, openGuarded } from './fixture.ts'

const USERS = htpasswd({ ann: 'a', bob: 'b' })
const RULES = "repositories: { '**': { pull: [ann, bob] }, 'secret/**': { pull: [ann] } }"
const PATHS = ['/', '/metrics', '/status', '/copies?reference=a:b', '/nothing']

async function openAdmin(t: TestContext, options: GuardedOptions) {
  const registry = await openGuarded(t, options)
  const server = await AdminServer.open({
    listen: { host: '127.0.0.1', port: 0 },
    introspection: new ScriptedNode(),
    log: silentLog,
    gate: adminGate(registry.guard)
  })
  t.after(() => server.close())
  const get = (path: string, headers = {}) =>
    fetch(`http://127.0.0.1:${server.port}${path}`, { headers })
  return { registry, get }
}

test('once there are users, the admin port is for those who may pull everything', async t => {
  const { registry, get } = await openAdmin(t, { users: USERS, rules: RULES, anonymous: 'pull' })
  const token = await registry.token('?scope=repository:a:pull', basic('ann', 'a'))
  for (const path of PATHS) {
    for (const headers of [{}, basic('ann', 'wrong'), basic('', '')]) {
      const response = await get(path, headers)
      assert.equal(response.status, 401, path)
      assert.equal(response.headers.get('www-authenticate'), 'Basic realm="Starling"')
    }
    assert.equal((await get(path, basic('bob', 'b'))).status, 403)
    assert.equal((await get(path, bearer(token))).status, 403)
    assert.ok([200, 404].includes((await get(path, basic('ann', 'a'))).status), path)
  }
})

test('probes need no credentials, and where there are no users nobody does', async t => {
  const { get } = await openAdmin(t, { users: USERS })
  for (const path of ['/healthz', '/readyz']) assert.equal((await get(path)).status, 200)
  const open = await openAdmin(t, {})
  assert.equal((await open.get('/status')).status, 200)
})
