import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { systemClock } from '../../src/clock.ts'
import { type MadeImage, makeImage } from '../../src/demo/image.ts'
import { type Digest, digestOf, hexOf } from '../../src/digest.ts'
import { silentLog } from '../../src/log.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import { openMetrics } from '../../src/metrics.ts'
import { Records } from '../../src/records/records.ts'
import { Collector } from '../../src/replication/collector.ts'
import { Inventory } from '../../src/replication/inventory.ts'
import { Leases } from '../../src/replication/leases.ts'
import { Pins } from '../../src/replication/pins.ts'
import { RunningTime } from '../../src/replication/running-time.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import { HandClock, INDEX_TYPE, openBlobs, peer, temporary } from './fixtures.ts'

const LEASE_MS = 10_000
const GRACE_MS = 1_000

test('an image goes a grace after its last link, and not before', async t => {
  const node = await open(t)
  const image = await node.pushed('app', makeImage([10, 20]))
  await node.records.write([{ kind: 'unlink', repository: 'app', digest: image.digest }])
  assert.equal((await node.collector.collect()).waiting.blobs, 4)
  node.clock.ms += GRACE_MS - 1
  assert.equal((await node.collector.collect()).swept.blobs, 0)
  node.clock.ms += 1
  const { swept } = await node.collector.collect()
  assert.deepEqual(swept, { blobs: 4, bytes: image.sizeBytes })
  assert.deepEqual(node.blobs.totals(), { count: 0, bytes: 0 })
  // Nothing is remembered of it either: pushed again, it is read again.
  assert.equal(node.inventory.graph.isRead(image.digest), false)
  await node.pushed('app', image)
  assert.equal(node.inventory.holdsAll(image.digest), true)
})

test('what was called for in between waits for the whole grace again', async t => {
  const node = await open(t)
  const image = await node.pushed('app', makeImage([10]))
  const unlink = { kind: 'unlink', repository: 'app', digest: image.digest } as const
  await node.records.write([unlink])
  await node.collector.collect()
  node.clock.ms += GRACE_MS - 1
  await node.link('other', image)
  await node.records.write([{ ...unlink, repository: 'other' }])
  node.clock.ms += 1
  const { swept, waiting } = await node.collector.collect()
  assert.equal(swept.blobs, 0)
  assert.equal(waiting.blobs, 3)
})

test('children live as long as their index, and go with it', async t => {
  const node = await open(t)
  const child = await node.pushed('app', makeImage([10]))
  const index = indexOf(child)
  await node.pushed('app', index)
  await node.records.write([{ kind: 'unlink', repository: 'app', digest: child.digest }])
  await node.overGrace()
  assert.equal((await node.collector.collect()).kept.blobs, 4)
  await node.records.write([{ kind: 'unlink', repository: 'app', digest: index.digest }])
  await node.overGrace()
  assert.equal((await node.collector.collect()).swept.blobs, 4)
})

test('a lease keeps a blob for its time, and its record is taken back after it', async t => {
  const node = await open(t)
  const digest = await node.leased('app')
  node.clock.ms += LEASE_MS - 1
  const { explained } = await node.collector.collect()
  assert.deepEqual(
    explained.map(({ decision, reason }) => [decision, reason]),
    [['keep', 'leased to a push for 1 s more']]
  )
  node.clock.ms += 1
  await node.overGrace()
  assert.equal((await node.collector.collect()).swept.blobs, 1)
  assert.equal(await node.records.lease('app', digest), undefined)
})

test('on a full disk leases end at once, but for a push that is uploading', async t => {
  const node = await open(t)
  await node.leased('idle')
  await node.leased('uploading')
  node.uploading.add('uploading')
  node.space.state = 'full'
  await node.overGrace()
  const { kept, swept } = await node.collector.collect()
  assert.deepEqual([kept.blobs, swept.blobs], [1, 1])
})

test('what a request is working with stays until that has ended', async t => {
  const node = await open(t)
  const digest = await node.put()
  await node.pins.during([digest], async () => {
    await node.overGrace()
    assert.equal((await node.collector.collect()).kept.blobs, 1)
  })
  await node.overGrace()
  assert.equal((await node.collector.collect()).swept.blobs, 1)
})

test('a manifest that is yet to come holds up everything, until it is surely lost', async t => {
  const node = await open(t)
  await node.put()
  const image = makeImage([10])
  await node.link('app', image)
  await node.overGrace()
  const { obstacles, due, swept } = await node.collector.collect()
  assert.match(obstacles.join(), /1 manifests are yet to come/)
  assert.deepEqual([due.blobs, swept.blobs], [1, 0])
  node.lost.add(image.digest)
  assert.equal((await node.collector.collect()).swept.blobs, 1)
})

test('nothing is swept for one lease time after a start, unless it is asked for now', async t => {
  const node = await open(t, { aged: false })
  await node.put()
  await node.overGrace()
  const { obstacles, swept } = await node.collector.collect()
  assert.match(obstacles.join(), /after a start/)
  assert.equal(swept.blobs, 0)
  assert.equal((await node.collector.collect({ now: true })).swept.blobs, 1)
})

test('members whose records are not level hold it up', async t => {
  const node = await open(t)
  await node.put()
  node.peers.push(peer('b'), peer('c'), peer('d'))
  node.level.push('b')
  await node.overGrace()
  assert.match((await node.collector.collect()).obstacles.join(), /level with 1 members, 2 are/)
  node.level.push('d')
  assert.equal((await node.collector.collect()).swept.blobs, 1)
})

test('a dry run tells of images that no tag points at, and that only their digest deletes them', async t => {
  const node = await open(t)
  const [untagged, tagged] = [makeImage([10]), makeImage([20])]
  for (const image of [untagged, tagged]) await node.pushed('team/app', image)
  const tag = { kind: 'tag', repository: 'team/app', tag: 'v1', digest: tagged.digest } as const
  await node.records.write([tag])
  const { explained } = await node.collector.collect({ dryRun: true })
  assert.deepEqual(
    explained.map(each => [each.digest, each.decision]),
    [[untagged.digest, 'keep']]
  )
  assert.match(explained[0]?.reason ?? '', /^no tag points at team\/app@sha256:.* by its digest$/)
})

test('a collection that was asked for says what is in the way, also with nothing due', async t => {
  const node = await open(t, { aged: false })
  assert.match((await node.collector.collect()).obstacles.join(), /after a start/)
})

test('a dry run changes nothing and explains all', async t => {
  const node = await open(t)
  const image = await node.pushed('app', makeImage([10]))
  const tag = { kind: 'tag', repository: 'app', tag: 'v1', digest: image.digest } as const
  await node.records.write([tag])
  const digest = await node.put()
  await node.overGrace()
  const { dryRun, due, swept, explained } = await node.collector.collect({ dryRun: true })
  assert.equal(dryRun, true)
  assert.deepEqual([due.blobs, swept.blobs], [1, 0])
  assert.deepEqual(
    explained.map(each => [each.digest, each.decision, each.reason]),
    [[digest, 'sweep', 'nothing has called for it for 1 s']]
  )
  assert.equal(node.blobs.totals().count, 4)
})

test('the rest of a download goes once its blob is held or not called for', async t => {
  const node = await open(t)
  const image = makeImage([10])
  const [wanted, unwanted] = [image.digest, digestOf(Buffer.from('unwanted'))]
  await node.link('app', image)
  for (const digest of [wanted, unwanted]) {
    const partial = await node.blobs.partial(partialName(digest), 'sha256')
    await partial.append(Buffer.from('x'))
    await partial.close()
  }
  await node.collector.collect()
  assert.deepEqual(await node.blobs.partials(), [partialName(wanted)])
  await node.blobs.put(image.manifest, image.digest)
  await node.collector.collect()
  assert.deepEqual(await node.blobs.partials(), [])
})

/** A collector over real blobs and records; what it knows of the others is up to the test. */
async function open(t: TestContext, { aged = true } = {}) {
  const clock = new HandClock()
  const blobs = await openBlobs(t)
  const log = silentLog
  const records = await Records.open({
    ...{ dataDir: await temporary(t), origin: 'me', clock: systemClock, log }
  })
  t.after(() => records.close())
  const inventory = await Inventory.open({ blobs, records, clock, log })
  t.after(() => inventory.close())
  const time = new RunningTime(clock, Number.POSITIVE_INFINITY)
  const nowMs = () => time.ms()
  const leases = await Leases.open({ records, ttlMs: LEASE_MS, nowMs, random: () => 0 })
  t.after(() => leases.close())
  const metrics = openMetrics()
  t.after(() => metrics.close())
  const peers: PeerView[] = []
  const level: string[] = []
  const uploading = new Set<string>()
  const lost = new Set<Digest>()
  const pins = new Pins()
  const space = { totalBytes: 1, usedBytes: 0, limitBytes: 1, state: 'ok' as 'ok' | 'full' }
  const node = {
    ...{ clock, blobs, records, inventory, pins, peers, level, uploading, lost, space },
    collector: new Collector({
      ...{ graceMs: GRACE_MS, blobs, records, inventory, leases, pins, metrics, time, log },
      uploads: { repositories: () => uploading },
      mesh: { peers: () => peers },
      synchroniser: { levelWithAll: async () => ({ answered: level, silent: [] }) },
      cluster: {
        readiness: () => ({ ready: true, reason: 'ready' }),
        mayReturn: () => false
      },
      replicator: { hasFailed: digest => lost.has(digest) },
      downloads: { get: () => undefined },
      disk: { space: () => space }
    }),
    /** Stores a blob that nothing calls for. */
    put: () => putSome(blobs),
    async leased(repository: string): Promise<Digest> {
      const digest = await putSome(blobs, repository)
      await records.write([{ kind: 'lease', repository, digest, sizeBytes: 1, ttlMs: LEASE_MS }])
      return digest
    },
    async link(repository: string, image: Pushable): Promise<void> {
      const { digest, mediaType, manifest } = image
      const sizeBytes = manifest.length
      await records.write([{ kind: 'link', repository, digest, mediaType, sizeBytes }])
      await inventory.settled()
    },
    async pushed<Image extends Pushable>(repository: string, image: Image): Promise<Image> {
      for (const blob of image.blobs) await blobs.put(Buffer.concat([...blob.bytes()]), blob.digest)
      await blobs.put(image.manifest, image.digest)
      await node.link(repository, image)
      return image
    },
    /** What nothing calls for now has been so for a grace. */
    async overGrace(): Promise<void> {
      await node.collector.collect()
      clock.ms += GRACE_MS
    }
  }
  t.after(() => node.collector.close())
  if (aged) clock.ms += LEASE_MS
  return node
}

type Pushable = Pick<MadeImage, 'mediaType' | 'manifest' | 'digest' | 'blobs'>

function indexOf({ digest, mediaType, manifest }: MadeImage): Pushable {
  const manifests = [{ mediaType, digest, size: manifest.length }]
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests }))
  return { mediaType: INDEX_TYPE, manifest: bytes, digest: digestOf(bytes), blobs: [] }
}

async function putSome(blobs: Blobs, text = 'some'): Promise<Digest> {
  const bytes = Buffer.from(text)
  await blobs.put(bytes, digestOf(bytes))
  return digestOf(bytes)
}

function partialName(digest: Digest): string {
  return `sha256-${hexOf(digest)}`
}
