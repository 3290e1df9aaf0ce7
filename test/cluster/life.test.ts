/** What an operator sees of the life of a cluster: events, and a member that is given up. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname

let cluster: Cluster
let one: Daemon
let two: Daemon

before(async () => {
  const started = await Cluster.start(2, { flags: ['--dead-after', '3s', '--alone-after', '1s'] })
  cluster = started.cluster
  ;[one, two] = started.nodes as [Daemon, Daemon]
})

after(() => cluster?.close())

test('a push, a delete and a death are told on every node', async () => {
  const image = makeImage([100])
  await pushImage(at(one, 'v1'), image)
  const url = `http://${one.addresses.registry}/v2/team/app/manifests/v1`
  assert.equal((await fetch(url, { method: 'DELETE' })).status, 202)
  for (const node of [one, two]) {
    const happened = await eventsAt(node)
    const { digest } = image
    const about = { repository: 'team/app', digest }
    assert.ok(has(happened, { kind: 'manifest', ...about }))
    assert.ok(has(happened, { kind: 'tag', ...about, tag: 'v1', before: null, conflict: false }))
    assert.ok(has(happened, { kind: 'untag', repository: 'team/app', tag: 'v1', before: digest }))
  }
})

test('a member that is gone for good is forgotten everywhere, and a push needs it no more', async () => {
  await assert.rejects(starling(one, 'forget', 'node-2'), { code: 1 })
  await two.kill()
  await one.statusWhere('to miss it', ({ peers }) => peers[0]?.state === 'away')
  await starling(one, 'forget', 'node-2')
  assert.deepEqual((await one.status()).peers, [])
  await pushImage(at(one, 'v2'), makeImage([100]))
  assert.deepEqual((await one.status()).degraded, [])
  assert.ok(has(await eventsAt(one), { kind: 'member', name: 'node-2', state: 'gone' }))

  await one.kill()
  const again = await cluster.restart(one, 'kept')
  assert.deepEqual((await again.status()).peers, [])
  const listed = JSON.parse(await starling(again, 'ls', '--json')) as Record<string, unknown>
  assert.deepEqual(
    [listed['repository'], listed['tag'], listed['copies'], listed['holders']],
    ['team/app', 'v2', 1, 1]
  )
})

async function eventsAt(node: Daemon): Promise<readonly Record<string, unknown>[]> {
  const text = await starling(node, 'events', '--no-follow', '--json')
  return text.split('\n').map(line => JSON.parse(line))
}

function has(happened: readonly Record<string, unknown>[], wanted: Record<string, unknown>) {
  return happened.some(each => Object.entries(wanted).every(([key, value]) => each[key] === value))
}

async function starling(node: Daemon, ...words: readonly string[]): Promise<string> {
  const line = [MAIN, ...words, '--data', node.options.dataDir]
  return (await promisify(execFile)(process.execPath, line)).stdout.trim()
}

function at(node: Daemon, tag: string) {
  return { registry: node.addresses.registry, repository: 'team/app', tag }
}
