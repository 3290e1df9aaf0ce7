import assert from 'node:assert/strict'
import fs, { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { makeDirectories } from '../src/directories.ts'

test('a directory is made with all above it, as often as one likes', async t => {
  const path = join(await emptyDirectory(t), 'a/b/c')
  await makeDirectories(path, 0o700)
  await makeDirectories(path)
  assert.equal((await stat(path)).mode & 0o777, 0o700)
})

test('whatever holds a new directory is synced, so that no power cut takes it away', async t => {
  const root = await emptyDirectory(t)
  const opened = t.mock.method(fs, 'open')
  syncBuiltinESMExports()
  await makeDirectories(join(root, 'a/b'))
  const synced = opened.mock.calls.map(call => call.arguments[0])
  t.mock.restoreAll()
  syncBuiltinESMExports()
  assert.deepEqual(synced, [root, join(root, 'a')])
})

test('below what takes no directories it fails at once', async t => {
  const root = await emptyDirectory(t)
  await writeFile(join(root, 'file'), '')
  await assert.rejects(makeDirectories(join(root, 'file/below/it')), { code: 'EEXIST' })
  const isLinux = process.platform === 'linux'
  if (isLinux) await assert.rejects(makeDirectories('/proc/nowhere/at-all'), { code: 'ENOENT' })
})

async function emptyDirectory(t: TestContext): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'starling-directories-'))
  t.after(() => rm(root, { recursive: true }))
  return root
}
