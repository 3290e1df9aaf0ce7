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

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname
const DEAD_AFTER_MS = 2_000
/** A look each quarter of a second, the push itself, and two busy cores. */
const SLACK_MS = 3_000

let cluster: Cluster
let one: Daemon
let two: Daemon
let three: Daemon

before(async () => {
  const flags = ['--dead-after', `${DEAD_AFTER_MS}ms`]
  const started = await Cluster.start(3, { flags })
  cluster = started.cluster
  ;[one, two, three] = started.nodes as [Daemon, Daemon, Daemon]
})

after(() => cluster?.close())

test('a node that hangs holds up pushes, waits and pulls no longer than dead-after', async () => {
  three.signal('SIGSTOP')
  const startedMs = performance.now()
  const image = makeImage([10_000])
  await pushImage(at(one, 'hung'), image)
  assertWithin(startedMs, 'the push was answered')
  await isAwayAt(one)
  await isAwayAt(two)
  assertWithin(startedMs, 'the others knew')
  assert.equal(await pullImage(at(two, 'hung')), image.sizeBytes)
  assert.equal(await statusOf(two, 'nobody-pushed-this'), 404)
  await waitFor('hung', 2)
})

test('resumed, it gives what was pushed while it hung, at once', async () => {
  const image = makeImage([10_000])
  await pushImage(at(one, 'moved'), image)
  three.signal('SIGCONT')
  assert.equal(await digestAt(three, 'moved'), image.digest)
  await isLiveAt(one)
  await three.ready()
  await movedDuring(1_500)
})

test('a node that is killed stops counting as soon', async () => {
  const before = makeImage([10_000])
  await pushImage(at(one, 'killed'), before)
  await three.kill()
  const startedMs = performance.now()
  const image = makeImage([10_000])
  await pushImage(at(one, 'killed'), image)
  await isAwayAt(one)
  await isAwayAt(two)
  assertWithin(startedMs, 'the others knew')
  assert.equal(await statusOf(two, 'nobody-pushed-this'), 404)
  await waitFor('killed', 2)
})

/** A pause too short to be noticed by others: the tag moves at its end, and is right at once. */
async function movedDuring(pauseMs: number): Promise<void> {
  const image: MadeImage = makeImage([10_000])
  three.signal('SIGSTOP')
  const pushed = pushImage(at(one, 'moved'), image)
  await new Promise(resolve => setTimeout(resolve, pauseMs))
  three.signal('SIGCONT')
  await pushed
  assert.equal(await digestAt(three, 'moved'), image.digest)
}

function assertWithin(startedMs: number, what: string): void {
  const tookMs = performance.now() - startedMs
  assert.ok(tookMs < DEAD_AFTER_MS + SLACK_MS, `${what} after ${Math.round(tookMs)} ms`)
}

async function waitFor(tag: string, count: number): Promise<void> {
  const url = `http://${one.addresses.admin}`
  const line = ['wait', `app:${tag}`, '--nodes', `${count}`, '--timeout', '20s', '--url', url]
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

async function statusOf(node: Daemon, tag: string): Promise<number> {
  const url = `http://${node.addresses.registry}/v2/app/manifests/${tag}`
  return (await fetch(url, { method: 'HEAD' })).status
}

async function digestAt(node: Daemon, tag: string): Promise<string | null> {
  const url = `http://${node.addresses.registry}/v2/app/manifests/${tag}`
  const response = await fetch(url, { method: 'HEAD' })
  return response.headers.get('docker-content-digest')
}
