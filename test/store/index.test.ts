import assert from 'node:assert/strict'
import { readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { Level } from 'level'
import { type Digest, digestOf } from '../../src/digest.ts'
import { layoutOf } from '../../src/store/layout.ts'
import { openBlobs, readAll, scratch, someBytes } from './scratch.ts'
import { rotFiles } from './test-disk.ts'

/** Enough that a table of the index has several blocks. */
const COUNT = 120

const DAMAGES: Readonly<Record<string, (index: string) => Promise<unknown>>> = {
  'is deleted': index => rm(index, { recursive: true }),
  'has a bit flipped in its log': index => rotFiles(index, /\.log$/),
  'has a bit flipped in its tables': async index => {
    await toTables(index)
    assert.ok((await rotFiles(index, /\.ldb$/)) > 0)
  },
  'has a bit flipped in its manifest': index => rotFiles(index, /^MANIFEST/),
  'lost a table': async index => {
    await toTables(index)
    for (const name of await readdir(index)) {
      if (name.endsWith('.ldb')) await rm(join(index, name))
    }
  },
  'names no manifest': index => writeFile(join(index, 'CURRENT'), 'nonsense\n'),
  'has entries that are false': async index => {
    const level = new Level<string, string>(index)
    for await (const key of level.keys()) await level.put(key, 'v1 1 00000000')
    await level.put('nonsense', 'nonsense')
    await level.close()
  },
  'is of another format': async index => {
    const level = new Level<string, string>(index)
    for await (const key of level.keys()) await level.put(key, 'v2 whatever')
    await level.close()
  }
}

for (const [damage, inflict] of Object.entries(DAMAGES)) {
  test(`when the index ${damage}, every blob is found again, with its size`, async t => {
    const dataDir = await scratch(t)
    const sizes = await fill(t, dataDir)
    await inflict(layoutOf(dataDir).index)
    // The second start has a sound index again.
    for (let start = 0; start < 2; start += 1) {
      const blobs = await openBlobs(t, dataDir)
      assert.equal(blobs.totals().count, COUNT)
      for (const [digest, sizeBytes] of sizes) {
        assert.deepEqual(blobs.stat(digest), { sizeBytes })
        assert.equal((await readAll(await blobs.read(digest))).length, sizeBytes)
      }
      await blobs.close()
    }
  })
}

test('an entry whose blob is gone is no holding', async t => {
  const dataDir = await scratch(t)
  await fill(t, dataDir)
  await rm(join(layoutOf(dataDir).blobs, 'sha256'), { recursive: true })
  const blobs = await openBlobs(t, dataDir)
  assert.deepEqual(blobs.totals(), { count: 0, bytes: 0 })
})

async function fill(t: TestContext, dataDir: string): Promise<Map<Digest, number>> {
  const blobs = await openBlobs(t, dataDir)
  const sizes = new Map<Digest, number>()
  await Promise.all(
    Array.from({ length: COUNT }, async (_, at) => {
      const bytes = someBytes(at + 1, at)
      sizes.set(digestOf(bytes), bytes.length)
      await blobs.put(bytes, digestOf(bytes))
    })
  )
  await blobs.close()
  return sizes
}

/** LevelDB turns the log of the last run into a table when it is opened. */
async function toTables(index: string): Promise<void> {
  const level = new Level<string, string>(index)
  await level.open()
  await level.close()
}
