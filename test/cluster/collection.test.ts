import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { test } from 'node:test'
import { runVerify } from '../../src/admin/commands/verify.ts'
import { controlOfData } from '../../src/admin/control-client.ts'
import type { VerificationLine } from '../../src/admin/operations.ts'
import { type MadeImage, makeImage } from '../../src/demo/image.ts'
import type { Digest } from '../../src/digest.ts'
import { blobPath, layoutOf } from '../../src/store/layout.ts'
import { Notebook } from '../admin/scripted-node.ts'
import { until } from '../helpers/until.ts'
import { type Node, Nodes } from './nodes.ts'

/** A push that takes longer than the lease loses its blobs again before its manifest comes. */
const QUICK = { lease: '5s', gcGrace: '100ms' } as const
/** Dead soon, and alone before that: so a node that is left never stops to take writes. */
const MORTAL = { ...QUICK, deadAfter: '3s', aloneAfter: '1s' } as const
const PASSES = 3
const { signal } = new AbortController()

for (const count of [1, 2]) {
  test(`the bytes of a deleted image come back on ${count} of ${count} nodes`, async t => {
    const nodes = await Nodes.open(t)
    const all = await nodes.startAll(count, QUICK)
    const first = all[0] as Node
    const [kept, deleted] = [makeImage([1_000]), makeImage([200_000, 3])]
    await first.push('app', 'kept', kept)
    await first.push('app', 'deleted', deleted)
    // Both have the same config.
    for (const node of all) await node.holds(6)
    await remove(all.at(-1) as Node, 'app', deleted)
    for (const node of all) {
      const { blobs } = await node.holds(3)
      assert.equal(blobs.bytesHeld, kept.sizeBytes)
      assert.equal(await node.pull('app', 'kept'), kept.sizeBytes)
      // Told of once the last of them is off the disk.
      await node.logs('blobs collected')
      // One run may take some of them, and the next the rest.
      const collected = async () => (await node.metric('starling_collected_blobs_total')) === 3
      await until(collected, { what: 'three blobs collected' })
    }
    // What was deleted can be pushed again.
    await first.push('app', 'deleted', deleted)
    for (const node of all) await node.holds(6)
  })
}

test('bytes come back on two nodes while a third one is dead, and on that when it returns', async t => {
  const nodes = await Nodes.open(t)
  const [one, two, three] = (await nodes.startAll(3, MORTAL)) as [Node, Node, Node]
  const image = makeImage([50_000])
  await one.push('app', 'v1', image)
  for (const node of [one, two, three]) await node.holds(3)
  await three.stop()
  await remove(one, 'app', image)
  for (const node of [one, two]) await node.holds(0)

  const again = await nodes.start('node-3', { ...MORTAL, join: [one.mesh] })
  await again.holds(0)
  for (const node of [one, two]) await node.holds(0)
})

test('a node that lost sight of half the members keeps what it has, and says why', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2, MORTAL)) as [Node, Node]
  const image = makeImage([1_000])
  await one.push('app', 'v1', image)
  await two.holds(3)
  await two.stop()
  await one.until('to see it is gone', ({ peers }) => peers[0]?.state === 'away')
  await one.ready()
  await remove(one, 'app', image)
  const client = controlOfData(one.dataDir)
  for (;;) {
    const collection = await client.collect({ dryRun: true, now: true }, signal)
    assert.equal(collection.kept.blobs + collection.waiting.blobs + collection.due.blobs, 3)
    assert.ok(collection.obstacles.some(words => /1 of 2 members are heard/.test(words)))
    assert.equal(collection.explained.length, 3)
    if (collection.due.blobs === 3) break
  }
  const { swept } = await client.collect({ dryRun: false, now: true }, signal)
  assert.deepEqual(swept, { blobs: 0, bytes: 0 })
  await one.holds(3)
})

test('a flipped byte in a stored layer is found by verify, healed from a peer, and never served', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = (await nodes.startAll(2)) as [Node, Node]
  const image = makeImage([300_000])
  await one.push('app', 'v1', image)
  for (const node of [one, two]) await node.holds(3)
  const layer = image.blobs[1]?.digest as Digest
  await flip(one, layer)

  const client = controlOfData(one.dataDir)
  const screen = new Notebook()
  assert.equal(await runVerify({ client, screen, signal, json: true }), 1)
  const outcome = screen.text.trim().split('\n').map(readLine).at(-1)
  assert.ok(outcome?.kind === 'outcome')
  assert.deepEqual(outcome.damaged, [{ digest: layer, healing: 'healed' }])
  assert.equal(await one.pull('app', 'v1'), image.sizeBytes)
  assert.equal(await one.metric('starling_damaged_blobs_total'), 1)
  await one.logs(layer)
  assert.equal(await runVerify({ client, screen, signal, json: true }), 0)
})

test('damage that nobody can heal is served to nobody, and a push heals it', async t => {
  const nodes = await Nodes.open(t)
  const node = await nodes.start('alone')
  const image = makeImage([300_000])
  await node.push('app', 'v1', image)
  const layer = image.blobs[1]?.digest as Digest
  await flip(node, layer)
  const screen = new Notebook()
  const client = controlOfData(node.dataDir)
  assert.equal(await runVerify({ client, screen, signal, json: false }), 1)
  assert.match(screen.text, /1 damaged\n.*no reachable node has it\n$/)
  const path = `/v2/app/blobs/${layer}`
  assert.equal(await node.statusCode(path, { method: 'HEAD' }), 404)
  assert.equal(await node.sureStatusCode(path), 404)
  await node.push('app', 'v1', image)
  assert.equal(await node.pull('app', 'v1'), image.sizeBytes)
})

test('no push under way is hurt by a collection that runs without a break', async t => {
  const nodes = await Nodes.open(t)
  const all = await nodes.startAll(2, { ...QUICK, gcGrace: '1ms' })
  const images = Array.from({ length: 9 }, () => makeImage([2_000, 3_000]))
  const ended = new AbortController()
  const collecting = Promise.all(all.map(node => collectUntil(node, ended.signal)))
  try {
    const collected = async () => {
      const counts = all.map(node => node.metric('starling_collected_blobs_total'))
      return Math.min(...(await Promise.all(counts)))
    }
    for (let pass = 0; pass < PASSES; pass++) {
      const before = await collected()
      for (const [round, image] of images.entries()) {
        await (all[round % 2] as Node).push('app', 'v1', image)
        assert.equal(await (all[(round + 1) % 2] as Node).pull('app', 'v1'), image.sizeBytes)
        await remove(all[(round + 1) % 2] as Node, 'app', image)
      }
      // Its turn comes image by image, and so the next pass pushes what is being collected.
      await until(async () => (await collected()) > before, { what: 'a blob to be collected' })
    }
  } finally {
    ended.abort()
    await collecting
  }
  for (const node of all) await node.holds(0)
})

async function collectUntil(node: Node, ended: AbortSignal): Promise<void> {
  const client = controlOfData(node.dataDir)
  while (!ended.aborted) await client.collect({ dryRun: false, now: true }, signal)
}

async function remove(node: Node, repository: string, { digest }: MadeImage): Promise<void> {
  const path = `/v2/${repository}/manifests/${digest}`
  assert.equal(await node.statusCode(path, { method: 'DELETE' }), 202)
}

async function flip(node: Node, digest: Digest): Promise<void> {
  const path = blobPath(layoutOf(node.dataDir), digest)
  const bytes = await readFile(path)
  bytes[1_000] = (bytes[1_000] ?? 0) ^ 1
  await writeFile(path, bytes)
}

function readLine(line: string): VerificationLine {
  return JSON.parse(line) as VerificationLine
}
