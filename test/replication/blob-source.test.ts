import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { type ErrorCode, isCode, StarlingError } from '../../src/errors.ts'
import { BlobSource } from '../../src/replication/blob-source.ts'
import type { Cluster } from '../../src/replication/cluster.ts'
import type { Intake } from '../../src/replication/intake.ts'
import type { Passage } from '../../src/replication/passage.ts'
import { named, openBlobs } from './fixtures.ts'

const signal = new AbortController().signal
const digest = named('blob')

test('a disk that gets full when a pull begins is no trouble of the client: the blob is passed on', async t => {
  for (const failing of ['opened', 'follow'] as const) {
    const { source, passed } = await open(t, { failing, code: 'DISK_FULL' })
    const blob = await source.open(digest, signal)
    assert.equal(blob?.sizeBytes, 5)
    assert.equal(await text((await blob?.open()) ?? Readable.from([])), 'whole')
    assert.equal(passed.count, 1, failing)
  }
})

test('a manifest that finds no room is passed on, too', async t => {
  const { source } = await open(t, { failing: 'opened', code: 'DISK_FULL' })
  assert.equal(String(await source.bytes(digest, signal)), 'whole')
})

test('what fails for another reason is not fetched twice', async t => {
  const { source, passed } = await open(t, { failing: 'opened', code: 'PEER_FAILED' })
  await assert.rejects(source.open(digest, signal), error => isCode(error, 'UNAVAILABLE'))
  assert.equal(passed.count, 0)
})

/** A source whose downloads fail, at the start or when somebody reads along. */
async function open(
  t: TestContext,
  { failing, code }: { readonly failing: 'opened' | 'follow'; readonly code: ErrorCode }
) {
  const failure = () => Promise.reject(new StarlingError(code, 'as the test wants it'))
  const passed = { count: 0 }
  const download = {
    hurry: () => undefined,
    opened: failing === 'opened' ? failure() : Promise.resolve({ sizeBytes: 5 }),
    done: failure(),
    follow: failure
  }
  download.opened.catch(() => undefined)
  download.done.catch(() => undefined)
  const intake = { fits: () => true, start: () => download }
  const passage = {
    open: async () => {
      passed.count += 1
      return Readable.from([Buffer.from('whole')])
    }
  }
  const cluster = {
    locate: async () => ({ held: new Map([[digest, 5]]), silent: [] }),
    mayReturn: () => true
  }
  const source = new BlobSource({
    blobs: await openBlobs(t),
    intake: intake as unknown as Intake,
    passage: passage as unknown as Passage,
    cluster: cluster as unknown as Cluster
  })
  return { source, passed }
}
