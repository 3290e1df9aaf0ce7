/**
 * Who counts as live, and for how long (README, "A node dies"): a process that is killed and one
 * that hangs stop counting alike, `--dead-after` and a little after they were last heard.
 */
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { type MadeImage, makeImage } from '../../src/demo/image.ts'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { sureStatus } from '../helpers/sure-status.ts'
import { until } from '../helpers/until.ts'

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname
/** Long enough that a busy machine makes nobody seem dead; nothing else ends a wait within minutes. */
const FLAGS = ['--dead-after', '4s', '--ack-wait', '10m']
/** Too short to be noticed by others. */
const PAUSE_MS = 1_500

let cluster: Cluster
let one: Daemon
let two: Daemon
let three: Daemon

before(async () => {
  const started = await Cluster.start(3, { flags: FLAGS })
  cluster = started.cluster
  ;[one, two, three] = started.nodes as [Daemon, Daemon, Daemon]
})

after(() => cluster?.close())

test('a node that hangs holds up pushes, waits and pulls no longer than dead-after', async () => {
  three.signal('SIGSTOP')
  const image = makeImage([10_000])
  await pushImage(at(one, 'hung'), image)
  await isAwayAt(one)
  await isAwayAt(two)
  assert.equal(await pullImage(at(two, 'hung')), image.sizeBytes)
  assert.equal(await statusOf(two, 'nobody-pushed-this'), 404)
  await waitFor('hung', 2)
})

test('resumed, it gives what was pushed while it hung', async () => {
  const image = makeImage([10_000])
  three.signal('SIGSTOP')
  await isAwayAt(one)
  await pushImage(at(one, 'moved'), image)
  three.signal('SIGCONT')
  // It asks the others before it answers, but no longer than a moment if it cannot reach them (P4).
  await until(async () => (await digestAt(three, 'moved')) === image.digest, {
    what: 'the tag to be the new one'
  })
})

test('resumed after a pause that nobody noticed, it gives what was pushed meanwhile at once', async () => {
  three.signal('SIGCONT')
  await isLiveAt(one)
  await three.ready()
  const image: MadeImage = makeImage([10_000])
  three.signal('SIGSTOP')
  const pushed = pushImage(at(one, 'paused'), image)
  await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
  three.signal('SIGCONT')
  await pushed
  assert.equal(await digestAt(three, 'paused'), image.digest)
})

test('a node that is killed stops counting as one that hangs', async () => {
  const before = makeImage([10_000])
  await pushImage(at(one, 'killed'), before)
  await three.kill()
  const image = makeImage([10_000])
  await pushImage(at(one, 'killed'), image)
  await isAwayAt(one)
  await isAwayAt(two)
  assert.equal(await statusOf(two, 'nobody-pushed-this'), 404)
  await waitFor('killed', 2)
})

async function waitFor(tag: string, count: number): Promise<void> {
  const url = `http://${one.addresses.admin}`
  const line = ['wait', `app:${tag}`, '--nodes', `${count}`, '--timeout', '120s', '--url', url]
  await run(process.execPath, [MAIN, ...line])
}

function isAwayAt(node: Daemon): Promise<unknown> {
  return node.statusWhere('to miss the third', ({ peers }) =>
    peers.some(({ name, state }) => name === three.name && state === 'away')
  )
}

function isLiveAt(node: Daemon): Promise<unknown> {
  return node.statusWhere('to hear the third', ({ peers }) =>
    peers.some(({ name, state }) => name === three.name && state === 'live')
  )
}

function at(node: Daemon, tag: string) {
  return { registry: node.addresses.registry, repository: 'app', tag }
}

function statusOf(node: Daemon, tag: string): Promise<number> {
  const url = `http://${node.addresses.registry}/v2/app/manifests/${tag}`
  return sureStatus(url, { method: 'HEAD' })
}

async function digestAt(node: Daemon, tag: string): Promise<string | null> {
  const url = `http://${node.addresses.registry}/v2/app/manifests/${tag}`
  const response = await fetch(url, { method: 'HEAD' })
  return response.headers.get('docker-content-digest')
}
