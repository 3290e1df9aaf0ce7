import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import { Admission, type AdmissionOptions } from '../../src/replication/admission.ts'
import { DiskWatch } from '../../src/replication/disk-space.ts'
import { Graph } from '../../src/replication/graph.ts'
import { Intake } from '../../src/replication/intake.ts'
import { Room } from '../../src/replication/room.ts'
import { named, peer, reference, temporary } from './fixtures.ts'

const GiB = 1024 ** 3

test('a push is admitted by the space that as many members have as it needs', () => {
  const room = (hereBytes: number, wanted: number, ...others: (number | PeerView)[]) =>
    roomOf(hereBytes, wanted, others).clusterBytes()
  assert.equal(room(5, 1), 5)
  assert.equal(room(5, 2, 3, 9), 5)
  assert.equal(room(0, 2, 3, 9), 3)
  assert.equal(room(0, 2, 0, 9), 0)
  assert.equal(room(7, 3, 3, 9), 3)
  // That too few are live is another question.
  assert.equal(room(7, 3, 9), 7)
  assert.equal(room(7, 2, peer('away', { state: 'away' }, { freeBytes: 0 })), 7)
  assert.equal(room(7, 2, peer('none', { hold: 'none' }, { freeBytes: 0 })), 7)
})

test('a member of an older version does not say how much it has, but whether it takes anything', () => {
  const older = peer('older', {}, {})
  assert.equal(roomOf(5, 2, [older]).clusterBytes(), 5)
  assert.equal(roomOf(5, 2, [peer('older', {}, { disk: 'full' })]).clusterBytes(), 0)
  assert.equal(
    roomOf(5, 2, [peer('failed', {}, { disk: 'failed', freeBytes: 9 })]).clusterBytes(),
    0
  )
})

test('a member that was met a moment ago, and has not said yet what it has, stops no push', () => {
  const met = { ...peer('met'), beat: undefined }
  assert.equal(roomOf(5, 2, [met]).clusterBytes(), 5)
  assert.equal(roomOf(5, 2, [met]).isBetterElsewhere(6), false)
})

test('a member of an older version takes no push that another passes on', () => {
  const room = roomOf(5, 2, [peer('older')])
  assert.equal(room.isBetterElsewhere(6), false)
  assert.equal(room.isBetterElsewhere(undefined), false)
})

test('what is being pushed here needs its room on the others too', () => {
  const room = roomOf(50, 2, [40], 30)
  assert.equal(room.clusterBytes(), 10)
  assert.equal(room.membersFor(20), 1)
})

test('another node is better for what does not fit here, and for who knows what with little room', () => {
  const isBetter = (hereBytes: number, otherBytes: number, bytes: number | undefined) =>
    roomOf(hereBytes, 1, [otherBytes]).isBetterElsewhere(bytes)
  assert.equal(isBetter(5, 9, 4), false)
  assert.equal(isBetter(5, 9, 6), true)
  assert.equal(isBetter(5, 5, 6), false)
  assert.equal(isBetter(GiB, 9 * GiB, undefined), true)
  assert.equal(isBetter(GiB, 1.5 * GiB, undefined), false)
  assert.equal(isBetter(50 * GiB, 500 * GiB, undefined), false)
})

test('room that is promised to one push is not promised to another', async t => {
  const { admission, disk } = await openAdmission(t)
  const freeBytes = disk.freeBytes()
  const first = await admission.promise(freeBytes - GiB / 4)
  await assert.rejects(admission.promise(GiB / 2), error => isCode(error, 'DISK_FULL'))
  const second = await admission.promise(1000)
  first.release()
  await admission.promise(GiB / 2)
  second.release()
})

test('what is written counts once: as promised before, as used after', async t => {
  const { admission, disk } = await openAdmission(t)
  const freeBytes = disk.freeBytes()
  const promised = await admission.promise(1_000_000)
  assert.equal(disk.freeBytes(), freeBytes - 1_000_000)
  promised.take(400_000)
  assert.equal(disk.freeBytes(), freeBytes - 1_000_000)
  promised.release()
  assert.equal(disk.freeBytes(), freeBytes - 400_000)
})

test('a body of no known length is taken as far as there is room, and no further', async t => {
  const { admission, disk } = await openAdmission(t)
  const claimedBytes = disk.freeBytes() - 10_000
  const release = disk.claim('copy', () => claimedBytes)
  const promised = await admission.promise()
  for (let taken = 0; taken < 10_000; taken += 1000) promised.take(1000)
  assert.throws(
    () => promised.take(1),
    error => isCode(error, 'DISK_FULL')
  )
  release()
  promised.take(1)
  promised.release()
})

test('a copy begins only with room for all of it, which is promised to it then', async t => {
  const { disk } = await openAdmission(t)
  const graph = new Graph()
  const layer = named('layer')
  const freeBytes = disk.freeBytes()
  graph.addManifest(named('manifest'), [reference(layer, { sizeBytes: freeBytes - 1000 })])
  graph.addLease('app', named('leased'), 2000)
  const download = { done: new Promise(() => {}), sizeBytes: undefined, doneBytes: 0 }
  const running = new Set<string>()
  const intake = new Intake({
    downloads: {
      get: (digest: string) => (running.has(digest) ? (download as never) : undefined),
      start: (digest: string) => {
        running.add(digest)
        return download as never
      }
    },
    ...{ graph, disk }
  })
  assert.ok(intake.fits(layer) && intake.fits(named('leased')))
  intake.start(layer)
  assert.equal(disk.freeBytes(), 1000)
  assert.ok(intake.fits(layer), 'it is on its way')
  assert.equal(intake.fits(named('leased')), false)
})

/** Others are peers, or what they have free. */
function roomOf(
  hereBytes: number,
  wanted: number,
  others: readonly (number | PeerView)[],
  pushedBytes = 0
): Room {
  const peers = others.map((other, index) =>
    typeof other === 'number' ? peer(`peer ${index}`, {}, { freeBytes: other }) : other
  )
  return new Room({
    mesh: { peers: () => peers },
    disk: { freeBytes: () => hereBytes, pushedBytes: () => pushedBytes },
    wantedCopies: () => wanted
  })
}

/** Over the file system of the tests, all of which it may use. */
async function openAdmission(t: TestContext) {
  const options = { dataDir: await temporary(t), maxUsedShare: 1, log: silentLog }
  const disk = await DiskWatch.open(options)
  disk.close()
  const room = new Room({ mesh: { peers: () => [] }, disk, wantedCopies: () => 1 })
  // What it asks of others is tested with whole nodes.
  const others = {} as unknown as Omit<AdmissionOptions, 'disk' | 'room'>
  const admission = new Admission({ ...others, disk, room })
  return { admission, disk, room }
}
