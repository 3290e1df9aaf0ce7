import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseDigest } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { SESSION_SUFFIX, UPLOAD_PREFIX } from '../../src/store/partials.ts'
import { readAll } from '../store/scratch.ts'
import { type Model, steps } from './upload-steps.ts'
import { UploadSystem } from './upload-system.ts'

const RUNS = 60
const MAX_STEPS = 40

test('any sequence of right and wrong steps leaves the sessions and blobs of the model, and no file else', async () => {
  await fc.assert(
    fc.asyncProperty(fc.commands(steps, { maxCommands: MAX_STEPS }), async commands => {
      const system = await UploadSystem.open()
      const model: Model = { sessions: [], ended: [], blobs: new Map() }
      try {
        await fc.asyncModelRun(() => ({ model, real: system }), commands)
        await assertSame(model, system)
        await system.restart()
        await assertSame(model, system)
      } finally {
        await system.remove()
      }
    }),
    { numRuns: RUNS }
  )
})

async function assertSame(model: Model, system: UploadSystem): Promise<void> {
  const { uploads, blobs } = system
  for (const { upload, bytes } of model.sessions) {
    const found = uploads.get(upload.repository, upload.id)
    assert.equal(found.offset, bytes.length)
    assert.throws(() => uploads.get('another', upload.id), unknown)
  }
  for (const { repository, id } of model.ended) {
    assert.throws(() => uploads.get(repository, id), unknown)
  }
  const files = model.sessions.flatMap(({ upload: { id } }) => [
    `${UPLOAD_PREFIX}${id}`,
    `${UPLOAD_PREFIX}${id}${SESSION_SUFFIX}`
  ])
  assert.deepEqual((await system.partialNames()).sort(), files.sort())
  assert.deepEqual([...blobs.digests()].sort(), [...model.blobs.keys()].sort())
  for (const [digest, bytes] of model.blobs) {
    assert.deepEqual(await readAll(await blobs.read(parseDigest(digest))), bytes)
  }
}

const unknown = (error: unknown): boolean => isCode(error, 'BLOB_UPLOAD_UNKNOWN')
