import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { NodeProcess } from '../../src/demo/node-process.ts'

test('a node that does not start is reported with the end of what it said', async t => {
  const directory = await mkdtemp(join(tmpdir(), 'starling-node-process-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const secretFile = join(directory, 'cluster.secret')
  await writeFile(secretFile, 'the secret of a cluster of one node\n', { mode: 0o600 })
  const starting = NodeProcess.start({
    name: 'ada',
    dataDir: join(directory, 'ada'),
    secretFile,
    flags: ['--copies', '0']
  })
  await assert.rejects(starting, { message: /^node ada did not start: it ended\n.*--copies/s })
})
