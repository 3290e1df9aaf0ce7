import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLog } from '../../src/log.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import { Owed } from '../../src/replication/owed.ts'
import { Repair, type RepairOptions } from '../../src/replication/repair.ts'
import { named, peer } from './fixtures.ts'

const IMAGE = { repository: 'app', tags: ['v1'], digest: named('image') }

test('what is owed is looked at rarely while nobody is there to take it, and soon when somebody is', async t => {
  const peers: PeerView[] = [peer('other', { state: 'away' })]
  let looks = 0
  let inVain = 0
  const lookedFor = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const owed = await start(t, {
    mesh: {
      peers: () => {
        if (++looks === 30) lookedFor.resolve()
        return peers
      }
    },
    records: {
      link: async () => {
        if (looks < 30) inVain += 1
        return { mediaType: 'manifest' } as never
      }
    },
    hold: {
      ask: async () => {
        asked.resolve()
        return true
      }
    }
  })
  await lookedFor.promise
  assert.deepEqual({ owed: owed.size, inVain }, { owed: 1, inVain: 0 })
  peers[0] = peer('other')
  await asked.promise
})

test('an image that was deleted is owed no more, though nobody is there', async t => {
  const redeemed = Promise.withResolvers<void>()
  await start(t, {
    mesh: { peers: () => [] },
    records: {
      link: async () => {
        redeemed.resolve()
        return undefined
      }
    },
    hold: { ask: async () => false }
  })
  await redeemed.promise
})

async function start(
  t: TestContext,
  parts: Pick<RepairOptions, 'mesh' | 'records' | 'hold'>
): Promise<Owed> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-repair-'))
  const owed = await Owed.open({ dataDir, log: silentLog })
  owed.add(IMAGE)
  const repair = new Repair({
    ...{ ...parts, owed, log: silentLog },
    copies: { count: () => 1, holdsThere: () => false },
    wantedCopies: () => 2,
    lookIntervalMs: 1
  })
  t.after(async () => {
    await repair.close()
    await owed.close()
    await rm(dataDir, { recursive: true })
  })
  repair.start()
  return owed
}
