import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeDataDir } from '../src/data-dir.ts'
import { isCode } from '../src/errors.ts'

test('a data directory is made with all above it, and may be there already', async t => {
  const root = await mkdtemp(join(tmpdir(), 'starling-data-'))
  t.after(() => rm(root, { recursive: true }))
  const path = join(root, 'a', 'b')
  await makeDataDir(path)
  await makeDataDir(path)
  assert.equal((await stat(path)).mode & 0o777, 0o700)
  await writeFile(join(root, 'file'), '')
  await assert.rejects(makeDataDir(join(root, 'file', 'c')), isRefused)
})

test('a place that takes no directories is refused at once', async () => {
  await assert.rejects(makeDataDir('/proc/starling/data'), isRefused)
})

function isRefused(error: unknown): boolean {
  return isCode(error, 'CONFIG_INVALID') && error.message.startsWith('--data: ')
}
