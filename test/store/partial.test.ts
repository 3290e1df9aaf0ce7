import assert from 'node:assert/strict'
import { link, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { blobPath, layoutOf } from '../../src/store/layout.ts'
import { MIB, openBlobs, readAll, scratch, someBytes } from './scratch.ts'

const bytes = someBytes(3 * MIB + 17)
const digest = digestOf(bytes)

test('a download goes on after a restart where it stopped', async t => {
  const dataDir = await scratch(t)
  const before = await openBlobs(t, dataDir)
  const first = await before.partial('some-blob', 'sha256')
  await first.append(bytes.subarray(0, MIB + 3))
  await before.close()

  const blobs = await openBlobs(t, dataDir)
  assert.deepEqual(await blobs.partials(), ['some-blob'])
  const partial = await blobs.partial('some-blob', 'sha256')
  assert.equal(partial.offset, MIB + 3)
  await partial.append(bytes.subarray(partial.offset))
  assert.deepEqual(await partial.commit(digest), { sizeBytes: bytes.length })
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
  assert.deepEqual(await blobs.partials(), [])
})

test('bytes that are not the blob are discarded, and nobody can read them', async t => {
  const dataDir = await scratch(t)
  const blobs = await openBlobs(t, dataDir)
  const partial = await blobs.partial('some-blob', 'sha256')
  await partial.append(bytes.subarray(1))
  await assert.rejects(partial.commit(digest), error => isCode(error, 'DIGEST_INVALID'))
  assert.equal(blobs.stat(digest), undefined)
  assert.deepEqual(await readdir(layoutOf(dataDir).partial), [])
  const again = await blobs.partial('some-blob', 'sha256')
  assert.equal(again.offset, 0)
  await again.append(bytes)
  await again.commit(digest)
})

test('a partial has one opener at a time', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const [first, second] = await Promise.allSettled([
    blobs.partial('some-blob', 'sha256'),
    blobs.partial('some-blob', 'sha256')
  ])
  assert.equal(first.status, 'fulfilled')
  assert.ok(second.status === 'rejected' && isCode(second.reason, 'UNAVAILABLE'))
  if (first.status === 'fulfilled') await first.value.close()
  const third = await blobs.partial('some-blob', 'sha256')
  await third.discard()
  await third.discard()
})

test('two downloads of the same blob both succeed, and one file remains', async t => {
  const dataDir = await scratch(t)
  const blobs = await openBlobs(t, dataDir)
  const both = await Promise.all(['one', 'two'].map(name => blobs.partial(name, 'sha256')))
  for (const partial of both) await partial.append(bytes)
  const stats = await Promise.all(both.map(partial => partial.commit(digest)))
  assert.deepEqual(stats, [{ sizeBytes: bytes.length }, { sizeBytes: bytes.length }])
  assert.deepEqual(await readdir(layoutOf(dataDir).partial), [])
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
})

test('a sha512 blob is verified, whether it was announced or not', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  for (const algorithm of ['sha256', 'sha512'] as const) {
    const named = digestOf(Buffer.concat([bytes, Buffer.from(algorithm)]), 'sha512')
    const partial = await blobs.partial(`by-${algorithm}`, algorithm)
    await partial.append(bytes)
    await partial.append(Buffer.from(algorithm))
    await partial.commit(named)
    assert.equal(blobs.stat(named)?.sizeBytes, bytes.length + algorithm.length)

    const wrong = await blobs.partial(`by-${algorithm}`, algorithm)
    await wrong.append(bytes)
    await assert.rejects(wrong.commit(named), error => isCode(error, 'DIGEST_INVALID'))
  }
})

test('nothing can be done with a partial that has become a blob, was discarded or closed', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const endings = [
    async () => {
      const partial = await blobs.partial('some-blob', 'sha256')
      await partial.append(bytes)
      const commit = partial.commit(digest)
      await assert.rejects(partial.append(bytes), error => isCode(error, 'CLOSED'))
      await assert.rejects(partial.commit(digest), error => isCode(error, 'CLOSED'))
      await Promise.all([commit, partial.discard(), partial.close()])
      assert.ok(blobs.stat(digest), 'a commit under way is let through')
      return partial
    },
    async () => {
      const partial = await blobs.partial('some-blob', 'sha256')
      await partial.discard()
      return partial
    },
    async () => {
      const partial = await blobs.partial('some-blob', 'sha256')
      await partial.close()
      await partial.close()
      return partial
    }
  ]
  for (const end of endings) {
    const partial = await end()
    await assert.rejects(partial.append(bytes), error => isCode(error, 'CLOSED'))
    await assert.rejects(partial.commit(digest), error => isCode(error, 'CLOSED'))
    assert.throws(
      () => partial.follow({ sizeBytes: 10 }),
      error => isCode(error, 'CLOSED')
    )
  }
})

test('at start temporary files and strangers are removed, downloads and sessions are kept', async t => {
  const dataDir = await scratch(t)
  await (await openBlobs(t, dataDir)).close()
  const { partial } = layoutOf(dataDir)
  const kept = ['sha256-00ff', 'upload-1', 'upload-1.json']
  for (const name of [...kept, '7.tmp', 'Stranger', 'x.json', '.hidden']) {
    await writeFile(join(partial, name), 'x')
  }
  const blobs = await openBlobs(t, dataDir)
  assert.deepEqual((await readdir(partial)).sort(), kept)
  assert.deepEqual(await blobs.partials(), ['sha256-00ff'], 'uploads are not downloads')
})

test('a name that could lead elsewhere is refused', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  for (const name of ['', '..', '../x', 'a/b', 'A', 'a'.repeat(201)]) {
    await assert.rejects(blobs.partial(name, 'sha256'), error => isCode(error, 'UNKNOWN'))
  }
})

test('a blob is never appended to by way of a second name that a power cut left behind', async t => {
  const dataDir = await scratch(t)
  const before = await openBlobs(t, dataDir)
  await before.put(bytes, digest)
  await before.close()
  const layout = layoutOf(dataDir)
  await link(blobPath(layout, digest), join(layout.partial, 'some-blob'))

  const blobs = await openBlobs(t, dataDir)
  const partial = await blobs.partial('some-blob', 'sha256')
  assert.equal(partial.offset, 0)
  await partial.append(Buffer.from('other bytes'))
  await partial.flush()
  assert.deepEqual(await readAll(await blobs.read(digest)), bytes)
})

test('opening can be given up while the bytes from before are read', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  await partial.append(bytes)
  await partial.close()
  const signal = AbortSignal.abort()
  await assert.rejects(blobs.partial('some-blob', 'sha256', signal), { name: 'AbortError' })
  assert.equal((await blobs.partial('some-blob', 'sha256')).offset, bytes.length)
})

test('the memory of chunks is freed once they are written, when they are given away', async t => {
  const blobs = await openBlobs(t, await scratch(t))
  const partial = await blobs.partial('some-blob', 'sha256')
  const lent = Buffer.from(new Uint8Array(bytes.subarray(0, MIB)).buffer)
  const given = Buffer.from(new Uint8Array(bytes.subarray(MIB, 2 * MIB)).buffer)
  const part = bytes.subarray(2 * MIB)
  await partial.append(lent)
  await partial.append(given, 'given')
  await partial.append(part, 'given')
  await partial.flush()
  assert.equal(given.length, 0)
  assert.deepEqual(lent, bytes.subarray(0, MIB))
  assert.ok(part.length > 0, 'a part of something larger is left alone')
  assert.deepEqual(await partial.commit(digest), { sizeBytes: bytes.length })
})
