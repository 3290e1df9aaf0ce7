import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { PATIENCE_MS } from '../helpers/until.ts'
import { allLive, Flock, isLive, MORTAL, remembering, until, VITALS } from './helpers/flock.ts'

test('two nodes find each other, and each knows what the other said of itself', async context => {
  const flock = new Flock(context)
  const a = await flock.add('a', { self: () => ({ ...VITALS, root: 'of a' }) })
  const b = await flock.add('b', { join: [a.address] })
  await until(() => allLive([a, b]))
  await until(() => b.peer(a.id)?.beat !== undefined)
  const seen = b.peer(a.id)
  assert.equal(seen?.name, 'a')
  assert.equal(seen?.address, a.address)
  assert.equal(seen?.connected, true)
  assert.equal(seen?.beat?.root, 'of a')
  assert.deepEqual(seen?.transfer, { host: '127.0.0.1', port: 5053, fingerprint: 'ab'.repeat(32) })
  assert.equal(b.isPinned('ab'.repeat(32)), a.id)
  assert.equal(b.isPinned('cd'.repeat(32)), undefined)
})

test('two live nodes of one name are both told so', async context => {
  const flock = new Flock(context)
  const logs = [remembering(), remembering(), remembering()] as const
  const [first, second, other] = logs
  const a = await flock.add('a', { log: first.log })
  const twin = await flock.add('a', { log: second.log, join: [a.address] })
  const b = await flock.add('b', { log: other.log, join: [a.address] })
  await until(() => allLive([a, twin, b]))
  const said = logs.map(({ lines }) =>
    lines.some(line => line.includes('has the name of this one'))
  )
  assert.deepEqual(said, [true, true, false])
})

test('a request is answered, and what goes wrong is PEER_FAILED', async context => {
  const flock = new Flock(context)
  const a = await flock.open('a')
  a.handle('echo', 1_000, async (peer, payload) =>
    Buffer.concat([Buffer.from(`${peer} `), payload])
  )
  await flock.start(a)
  const b = await flock.add('b', { join: [a.address] })
  await until(() => allLive([a, b]))
  const options = { signal: AbortSignal.timeout(PATIENCE_MS), maxBytes: 1_000 }
  const answer = await b.request(a.id, 'echo', Buffer.from('hello'), options)
  assert.equal(Buffer.from(answer).toString(), `${b.id} hello`)
  const failed = (error: unknown) => isCode(error, 'PEER_FAILED')
  await assert.rejects(b.request(a.id, 'unknown', Buffer.of(), options), failed)
  await assert.rejects(b.request('nobody', 'echo', Buffer.of(), options), failed)
})

test('five nodes that join through one all see each other live, and gossip reaches all', async context => {
  const flock = new Flock(context)
  const first = await flock.add('n0')
  for (const name of ['n1', 'n2', 'n3', 'n4']) await flock.add(name, { join: [first.address] })
  await until(() => allLive(flock.meshes))
  const heard = new Map<string, string>()
  for (const mesh of flock.meshes) {
    mesh.onGossip((peer, payload) => heard.set(mesh.id, `${peer} ${Buffer.from(payload)}`))
  }
  const speaker = flock.meshes[3]
  assert.ok(speaker)
  await until(() => {
    speaker.publish(Buffer.from('news'))
    return heard.size === 4
  })
  assert.deepEqual([...new Set(heard.values())], [`${speaker.id} news`])
})

test('a node that dies is away within dead-after and live again on another port', async context => {
  const flock = new Flock(context, MORTAL)
  const a = await flock.add('a')
  const dataDir = await flock.dataDir()
  const b = await flock.add('b', { dataDir, join: [a.address] })
  await until(() => allLive([a, b]))
  await b.close()
  await until(() => a.peer(b.id)?.state === 'away')
  const again = await flock.add('b', { dataDir, join: [a.address] })
  assert.equal(again.id, b.id)
  await until(() => isLive(a, b.id))
  await until(() => a.peer(b.id)?.address === again.address)
})
