import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { Secrets } from '../../src/mesh/secret.ts'

async function temporary(context: TestContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-secret-'))
  context.after(() => rm(dataDir, { recursive: true, force: true }))
  return dataDir
}

const invalid = (error: unknown) => isCode(error, 'CONFIG_INVALID')

test('a node that joins nothing makes a secret, and keeps it', async context => {
  const dataDir = await temporary(context)
  const first = await Secrets.open({ dataDir, joining: false, log: silentLog })
  context.after(() => first.close())
  const file = join(dataDir, 'cluster.secret')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.ok((await readFile(file, 'utf8')).trim().length >= 43)
  const second = await Secrets.open({ dataDir, joining: true, log: silentLog })
  context.after(() => second.close())
  assert.deepEqual(first.keys(), second.keys())
})

test('a secret file that a power cut left empty gets its secret at the next start', async context => {
  const dataDir = await temporary(context)
  const file = join(dataDir, 'cluster.secret')
  await writeFile(file, '', { mode: 0o600 })
  await assert.rejects(Secrets.open({ dataDir, joining: true, log: silentLog }), invalid)
  const secrets = await Secrets.open({ dataDir, joining: false, log: silentLog })
  context.after(() => secrets.close())
  assert.ok((await readFile(file, 'utf8')).trim().length >= 43)
})

test('a node that joins others never invents a secret', async context => {
  const dataDir = await temporary(context)
  await assert.rejects(Secrets.open({ dataDir, joining: true, log: silentLog }), invalid)
  const file = join(dataDir, 'absent')
  await assert.rejects(Secrets.open({ dataDir, file, joining: false, log: silentLog }), invalid)
})

test('a secret under 16 bytes, and a file without one, are refused', async context => {
  const dataDir = await temporary(context)
  const file = join(dataDir, 'secret')
  for (const content of ['', '\n\n', 'short\n', `${'x'.repeat(16)}\nshort\n`]) {
    await writeFile(file, content)
    await assert.rejects(Secrets.open({ dataDir, file, joining: true, log: silentLog }), invalid)
  }
})

test('a changed file is read again, and a broken one changes nothing', async context => {
  const dataDir = await temporary(context)
  const file = join(dataDir, 'secret')
  const [old, fresh] = ['old-'.repeat(8), 'new-'.repeat(8)]
  await writeFile(file, `${old}\n`)
  const secrets = await Secrets.open({ dataDir, file, joining: true, log: silentLog })
  context.after(() => secrets.close())
  const [oldKey] = secrets.keys()
  await writeFile(file, `  ${fresh}\r\n${old}\n`)
  await secrets.reload()
  assert.equal(secrets.keys().length, 2)
  assert.deepEqual(secrets.keys()[1], oldKey)
  await writeFile(file, 'short\n')
  await secrets.reload()
  assert.equal(secrets.keys().length, 2)
})
