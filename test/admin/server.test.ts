import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect } from 'node:net'
import { after, before, beforeEach, test } from 'node:test'
import { AdminServer } from '../../src/admin/server.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { DIGEST, ScriptedNode, STATUS } from './scripted-node.ts'

let node = new ScriptedNode()
let server: AdminServer
const loopback = { host: '127.0.0.1', port: 0 }

before(async () => {
  server = await AdminServer.open({
    listen: loopback,
    introspection: {
      readiness: () => node.readiness(),
      status: page => node.status(page),
      copies: reference => node.copies(reference),
      past: () => node.past(),
      follow: signal => node.follow(signal),
      metrics: () => node.metrics()
    },
    log: silentLog
  })
})
after(() => server.close())
beforeEach(() => {
  node = new ScriptedNode()
})

test('a node that is not ready is healthy all the same, and says what it waits for', async () => {
  node.state = { ready: false, reason: 'waiting for 3 blobs' }
  assert.deepEqual(await get('/readyz'), { status: 503, text: 'waiting for 3 blobs\n' })
  assert.equal((await get('/healthz')).status, 200)
  node.state = { ready: true, reason: 'ready' }
  assert.deepEqual(await get('/readyz'), { status: 200, text: 'ready\n' })
})

test('metrics are text that Prometheus reads', async () => {
  const response = await fetch(urlOf('/metrics'))
  assert.equal(response.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
  assert.equal(await response.text(), 'starling_peers 1\n')
})

test('the status is JSON, with the page of images that was asked for', async () => {
  assert.deepEqual(JSON.parse((await get('/status')).text), STATUS)
  await get('/status?images=2&last=team/app:v1')
  assert.deepEqual(node.pages[0], { limit: 100 })
  assert.equal(node.pages[1]?.limit, 2)
  assert.deepEqual(node.pages[1]?.after, { kind: 'tag', repository: 'team/app', tag: 'v1' })
})

test('a page that makes no sense is refused with what was expected', async () => {
  for (const query of ['images=-1', 'images=1001', 'images=', 'images=1&images=2', 'last=app']) {
    const { status, text } = await get(`/status?${query}`)
    assert.equal(status, 400, query)
    assert.match(text, /expected/)
  }
  assert.deepEqual(node.pages, [])
})

test('copies are asked of an image by tag or digest, known or not', async () => {
  const unknown = await get('/copies?reference=team/app:v1')
  assert.deepEqual(JSON.parse(unknown.text), { reference: 'team/app:v1', digest: null, nodes: [] })
  node.holders = [[{ id: '1', name: 'one', state: 'live', holds: true, missing: [] }]]
  const known = await get(`/copies?reference=team/app@${DIGEST}`)
  assert.equal(JSON.parse(known.text).nodes.length, 1)
  assert.equal((await get('/copies?reference=..%2fapp:v1')).status, 400)
  assert.equal((await get('/copies')).status, 400)
})

test('the root lists what there is, and so does a wrong path', async () => {
  for (const path of ['/', '/nothing']) {
    const { text } = await get(path)
    for (const known of ['/healthz', '/readyz', '/metrics', '/status'])
      assert.ok(text.includes(known))
  }
  assert.equal((await get('/nothing')).status, 404)
})

test('nothing but reading is answered', async () => {
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH']) {
    assert.equal((await fetch(urlOf('/status'), { method })).status, 404, method)
  }
})

test('an error inside the node is an answer, and the next request is served', async () => {
  node.failure = new Error('the index is gone')
  const { status, text } = await get('/status')
  assert.equal(status, 500)
  assert.deepEqual(JSON.parse(text), { error: 'the index is gone' })
  assert.equal((await get('/healthz')).status, 200)
})

test('an address that is taken is named', async () => {
  const options = { introspection: node, log: silentLog }
  await assert.rejects(
    AdminServer.open({ ...options, listen: { host: '127.0.0.1', port: server.port } }),
    error => isCode(error, 'CONFIG_INVALID') && /127\.0\.0\.1.*EADDRINUSE/.test(error.message)
  )
})

test('closing twice is closing once', async () => {
  const other = await AdminServer.open({ listen: loopback, introspection: node, log: silentLog })
  await other.close()
  await other.close()
})

test('an answer may take longer than a request, and who sends none is hung up on', async t => {
  const answered = Promise.withResolvers<void>()
  node.status = () => answered.promise.then(() => STATUS)
  const options = { introspection: node, log: silentLog, requestTimeoutMs: 50 }
  const quick = await AdminServer.open({ ...options, listen: loopback })
  t.after(() => quick.close())
  const answer = fetch(`http://127.0.0.1:${quick.port}/status`)
  const silent = connect(quick.port, '127.0.0.1')
  // What the server sends before it hangs up has to be read for the end to be seen.
  silent.resume()
  await once(silent, 'close')
  answered.resolve()
  assert.deepEqual(await (await answer).json(), STATUS)
})

function urlOf(path: string): string {
  return `http://127.0.0.1:${server.port}${path}`
}

async function get(path: string): Promise<{ status: number; text: string }> {
  const response = await fetch(urlOf(path))
  return { status: response.status, text: await response.text() }
}
