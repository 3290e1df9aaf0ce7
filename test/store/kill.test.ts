import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { tryDigest } from '../../src/digest.ts'
import { incompleteBlobs, openBlobs, scratch } from './scratch.ts'

test('a process killed again and again in the middle of writing loses nothing it answered for', async t => {
  const dataDir = await scratch(t)
  const told = new Set<string>()
  for (let round = 1; round <= 5; round += 1) {
    const writer = fork(join(import.meta.dirname, 'busy-writer.ts'), [dataDir, String(round)])
    const exited = once(writer, 'exit')
    let left = 3 * round
    writer.on('message', digest => {
      told.add(String(digest))
      left -= 1
      if (left === 0) writer.kill('SIGKILL')
    })
    await exited
    assert.deepEqual(await incompleteBlobs(dataDir), [])
  }
  const blobs = await openBlobs(t, dataDir)
  for (const text of told) {
    const digest = tryDigest(text)
    assert.ok(digest && blobs.stat(digest))
    await blobs.bytes(digest, 1_000_000)
  }
  assert.ok(told.size >= 45)
})
