import assert from 'node:assert/strict'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Level } from 'level'
import { type Digest, digestOf } from '../../src/digest.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import { blobPath, layoutOf } from '../../src/store/layout.ts'
import { openBlobs, scratch, someBytes } from './scratch.ts'
import { rotFiles } from './test-disk.ts'

const COUNT = 120
const LIMIT_BYTES = 1024 * 1024

const DAMAGES: Readonly<Record<string, (copies: string) => Promise<unknown>>> = {
  'are deleted': copies => rm(copies, { recursive: true }),
  'have a bit flipped in their log': copies => rotFiles(copies, /\.log$/),
  'have a bit flipped in their manifest': copies => rotFiles(copies, /^MANIFEST/),
  'name no manifest': copies => writeFile(join(copies, 'CURRENT'), 'nonsense\n'),
  'are other bytes': async copies => {
    const level = new Level<string, string>(copies)
    for await (const key of level.keys()) await level.put(key, 'other bytes')
    await level.put('nonsense', 'nonsense')
    await level.close()
  },
  'are a file': async copies => {
    await rm(copies, { recursive: true })
    await writeFile(copies, '')
  }
}

test('what was asked for whole is known at the next start', async t => {
  const dataDir = await scratch(t)
  const expected = await fill(t, dataDir)
  assert.deepEqual(await known(await openBlobs(t, dataDir)), expected)
})

for (const [damage, inflict] of Object.entries(DAMAGES)) {
  test(`when the copies ${damage}, no wrong byte is known, and all are again after being read`, async t => {
    const dataDir = await scratch(t)
    const expected = await fill(t, dataDir)
    await inflict(layoutOf(dataDir).copies)
    const blobs = await openBlobs(t, dataDir)
    for (const [digest, bytes] of await known(blobs)) {
      assert.deepEqual(bytes, expected.get(digest))
    }
    for (const digest of expected.keys()) await blobs.bytes(digest, LIMIT_BYTES)
    await blobs.close()
    assert.deepEqual(await known(await openBlobs(t, dataDir)), expected)
  })
}

test('a copy does not stand for a blob that has gone', async t => {
  const dataDir = await scratch(t)
  const expected = await fill(t, dataDir)
  const [gone, removed] = [...expected.keys()]
  assert.ok(gone !== undefined && removed !== undefined)
  await rm(blobPath(layoutOf(dataDir), gone))
  const blobs = await openBlobs(t, dataDir)
  await blobs.remove(removed)
  expected.delete(gone)
  expected.delete(removed)
  assert.deepEqual(await known(blobs), expected)
})

/** Blobs that were read once; the store is closed again. */
async function fill(t: TestContext, dataDir: string): Promise<Map<Digest, Buffer>> {
  const blobs = await openBlobs(t, dataDir)
  const expected = new Map<Digest, Buffer>()
  for (let at = 0; at < COUNT; at += 1) {
    const bytes = someBytes(1_000 + at, at)
    expected.set(digestOf(bytes), bytes)
    await blobs.put(bytes, digestOf(bytes))
    await blobs.bytes(digestOf(bytes), LIMIT_BYTES)
  }
  await blobs.close()
  return expected
}

async function known(blobs: Blobs): Promise<Map<Digest, Buffer>> {
  const all = new Map<Digest, Buffer>()
  for await (const [digest, bytes] of blobs.bytesKnown()) all.set(digest, bytes)
  return all
}
