import assert from 'node:assert/strict'
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { openIdentity } from '../../src/mesh/identity.ts'

async function temporary(context: TestContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-identity-'))
  context.after(() => rm(dataDir, { recursive: true, force: true }))
  return dataDir
}

test('an identity is made once and kept', async context => {
  const dataDir = await temporary(context)
  const first = await openIdentity(dataDir, 'a', silentLog)
  const second = await openIdentity(dataDir, 'a', silentLog)
  assert.equal(second.id, first.id)
  assert.equal((await stat(join(dataDir, 'node.key'))).mode & 0o777, 0o600)
})

test('another name gets another identity, and keeps that one', async context => {
  const dataDir = await temporary(context)
  const a = await openIdentity(dataDir, 'a', silentLog)
  const b = await openIdentity(dataDir, 'b', silentLog)
  assert.notEqual(b.id, a.id)
  assert.equal((await openIdentity(dataDir, 'b', silentLog)).id, b.id)
})

test('a key that cannot be read is damage, not a new identity', async context => {
  const dataDir = await temporary(context)
  await openIdentity(dataDir, 'a', silentLog)
  await writeFile(join(dataDir, 'node.key'), 'not a key')
  await assert.rejects(openIdentity(dataDir, 'a', silentLog), error =>
    isCode(error, 'DATA_DAMAGED')
  )
})
