import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { makeDirectories } from '../src/directories.ts'

test('a directory is made with all above it, as often as one likes', async t => {
  const root = await mkdtemp(join(tmpdir(), 'starling-directories-'))
  t.after(() => rm(root, { recursive: true }))
  const path = join(root, 'a/b/c')
  await makeDirectories(path, 0o700)
  await makeDirectories(path)
  assert.equal((await stat(path)).mode & 0o777, 0o700)
})

test('below what takes no directories it fails at once', async t => {
  const root = await mkdtemp(join(tmpdir(), 'starling-directories-'))
  t.after(() => rm(root, { recursive: true }))
  await writeFile(join(root, 'file'), '')
  await assert.rejects(makeDirectories(join(root, 'file/below/it')), { code: 'EEXIST' })
  const isLinux = process.platform === 'linux'
  if (isLinux) await assert.rejects(makeDirectories('/proc/nowhere/at-all'), { code: 'ENOENT' })
})
