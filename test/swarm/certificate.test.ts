import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { silentLog } from '../../src/log.ts'
import { createCredentials, openCredentials } from '../../src/swarm/certificate.ts'

async function dataDirectory(t: TestContext): Promise<string> {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-'))
  t.after(() => rm(dataDir, { recursive: true }))
  return dataDir
}

test('credentials are made once and kept, the key for its owner alone', async t => {
  const dataDir = await dataDirectory(t)
  const made = await openCredentials({ dataDir, log: silentLog })
  assert.deepEqual(await openCredentials({ dataDir, log: silentLog }), made)
  assert.equal((await stat(join(dataDir, 'transfer.key'))).mode & 0o777, 0o600)
})

test('the fingerprint is the SHA-256 of the DER, in plain hexadecimal digits', async t => {
  const dataDir = await dataDirectory(t)
  const { fingerprint } = await openCredentials({ dataDir, log: silentLog })
  const pem = await readFile(join(dataDir, 'transfer.crt'), 'utf8')
  const { fingerprint256 } = new X509Certificate(pem)
  assert.equal(fingerprint, fingerprint256.replaceAll(':', '').toLowerCase())
})

test('credentials that are damaged, or no pair, are made anew', async t => {
  const dataDir = await dataDirectory(t)
  const made = await openCredentials({ dataDir, log: silentLog })
  const other = await createCredentials()
  for (const [file, text] of [
    ['transfer.crt', 'rubbish'],
    ['transfer.key', ''],
    ['transfer.key', other.key]
  ] as const) {
    await writeFile(join(dataDir, file), text)
    const anew = await openCredentials({ dataDir, log: silentLog })
    assert.notEqual(anew.fingerprint, made.fingerprint)
    assert.deepEqual(await openCredentials({ dataDir, log: silentLog }), anew)
  }
})

test('a start cut off between key and certificate leaves nothing that cannot be started', async t => {
  const dataDir = await dataDirectory(t)
  await openCredentials({ dataDir, log: silentLog })
  await rm(join(dataDir, 'transfer.crt'))
  const anew = await openCredentials({ dataDir, log: silentLog })
  assert.deepEqual(await openCredentials({ dataDir, log: silentLog }), anew)
})
