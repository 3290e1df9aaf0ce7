import assert from 'node:assert/strict'
import { appendFile, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLog } from '../../src/log.ts'
import { Owed } from '../../src/replication/owed.ts'
import { named } from './fixtures.ts'

const tagged = { repository: 'app', tags: ['v1'], digest: named('one') }
const byDigest = { repository: 'app', tags: [], digest: named('two') }

async function openIn(t: TestContext): Promise<{ dataDir: string; open: () => Promise<Owed> }> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-owed-'))
  t.after(() => rm(dataDir, { recursive: true }))
  return { dataDir, open: () => Owed.open({ dataDir, log: silentLog }) }
}

test('what is owed is known after a restart, oldest first, an image once with all its tags', async t => {
  const { open } = await openIn(t)
  const owed = await open()
  assert.equal(owed.size, 0)
  owed.add(tagged)
  owed.add(byDigest)
  owed.add({ ...tagged, tags: ['v2'] })
  await owed.close()
  const again = await open()
  assert.deepEqual(again.images(), [{ ...tagged, tags: ['v1', 'v2'] }, byDigest])
})

test('once all is redeemed nothing is left, and a line cut off by a crash is nothing', async t => {
  const { dataDir, open } = await openIn(t)
  const owed = await open()
  owed.add(tagged)
  owed.add(byDigest)
  owed.redeem(tagged)
  owed.redeem(byDigest)
  await owed.close()
  assert.equal(await readFile(join(dataDir, 'owed.jsonl'), 'utf8'), '')
  await appendFile(join(dataDir, 'owed.jsonl'), '{"repository":"app","tags":["v')
  assert.equal((await open()).size, 0)
})

test('an image that is pushed again and again is written once, and again only for another tag', async t => {
  const { dataDir, open } = await openIn(t)
  const owed = await open()
  for (let push = 0; push < 50; push++) owed.add(tagged)
  owed.add({ ...tagged, tags: ['v2', 'v1'] })
  owed.add(byDigest)
  owed.add(byDigest)
  await owed.close()
  const text = await readFile(join(dataDir, 'owed.jsonl'), 'utf8')
  assert.equal(text.split('\n').length - 1, 3)
})

test('what is owed after a crash does not go on the line that was cut off', async t => {
  const { dataDir, open } = await openIn(t)
  await appendFile(join(dataDir, 'owed.jsonl'), '{"repository":"app","tags":["v')
  const owed = await open()
  owed.add(tagged)
  await owed.close()
  assert.deepEqual((await open()).images(), [tagged])
})
