import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { runGc } from '../../src/admin/commands/gc.ts'
import { runVerify } from '../../src/admin/commands/verify.ts'
import { openControl } from '../../src/admin/control.ts'
import { controlOfData } from '../../src/admin/control-client.ts'
import type { VerificationLine } from '../../src/admin/operations.ts'
import { AdminServer } from '../../src/admin/server.ts'
import { isCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { COLLECTION, DIGEST, Notebook, ScriptedNode } from './scripted-node.ts'

const { signal } = new AbortController()
const PROGRESS: VerificationLine = {
  ...{ kind: 'progress', blobs: 1, bytes: 1_024, totalBlobs: 2, totalBytes: 2_048, damaged: 0 }
}
const SOUND: VerificationLine = {
  ...{ kind: 'outcome', blobs: 2, bytes: 2_048, damaged: [], unchecked: [] }
}

test('gc says what it removed, and passes its switches on', async t => {
  const { node, client } = await openNode(t)
  const screen = new Notebook()
  const command = { client, screen, signal, json: false, dryRun: false, now: true }
  assert.equal(await runGc(command), 0)
  assert.deepEqual(node.modes, [{ dryRun: false, now: true }])
  assert.equal(
    screen.text,
    '3 blobs (3.0 KiB) kept, 0 blobs (0 B) waiting, 1 blob (1.0 KiB) due\n1 blob (1.0 KiB) removed\n'
  )
})

test('gc that is held up says why, and exits 1', async t => {
  const { node, client } = await openNode(t)
  node.collection = {
    ...COLLECTION,
    obstacles: ['this node is not ready'],
    swept: { blobs: 0, bytes: 0 }
  }
  const screen = new Notebook()
  const command = { client, screen, signal, json: false, dryRun: false, now: false }
  assert.equal(await runGc(command), 1)
  assert.match(screen.text, /held up: this node is not ready\n0 blobs \(0 B\) removed\n$/)
})

test('gc --dry-run explains each decision, and is never a failure', async t => {
  const { node, client } = await openNode(t)
  node.collection = { ...COLLECTION, dryRun: true, obstacles: ['so'], unexplained: 2 }
  const screen = new Notebook()
  const command = { client, screen, signal, json: false, dryRun: true, now: false }
  assert.equal(await runGc(command), 0)
  assert.ok(screen.text.includes(`  remove  ${DIGEST}  1.0 KiB  nobody cares\nand 2 blobs more\n`))
  const line = new Notebook()
  assert.equal(await runGc({ ...command, screen: line, json: true }), 0)
  assert.deepEqual(JSON.parse(line.text), node.collection)
})

test('verify shows how far it is, and exits 0 when all is sound', async t => {
  const { node, client } = await openNode(t)
  node.verification = [PROGRESS, SOUND]
  const screen = new Notebook(true)
  assert.equal(await runVerify({ client, screen, signal, json: false }), 0)
  assert.equal(
    screen.text,
    '\r\x1b[K1 of 2 blobs, 1.0 KiB of 2.0 KiB, 0 damaged\r\x1b[K2 blobs (2.0 KiB) read, 0 damaged\n'
  )
})

test('verify exits 1 when something was damaged, also when it is healed, and says so', async t => {
  const { node, client } = await openNode(t)
  const damaged = [{ digest: DIGEST, healing: 'healed' as const }]
  node.verification = [PROGRESS, { ...SOUND, damaged }]
  const screen = new Notebook()
  assert.equal(await runVerify({ client, screen, signal, json: false }), 1)
  assert.match(
    screen.text,
    /1 damaged\n {2}sha256:\w+ {2}was damaged; fetched again from a peer\n$/
  )
  const lines = new Notebook()
  assert.equal(await runVerify({ client, screen: lines, signal, json: true }), 1)
  assert.deepEqual(
    lines.text
      .trim()
      .split('\n')
      .map(line => JSON.parse(line)),
    node.verification
  )
})

test('a node that stops in the middle of a verification has not verified', async t => {
  const { node, client } = await openNode(t)
  node.verification = [PROGRESS]
  const command = { client, screen: new Notebook(), signal, json: false }
  await assert.rejects(runVerify(command), error => isCode(error, 'UNAVAILABLE'))
})

test('without a node both find none', async () => {
  const client = controlOfData(join(tmpdir(), 'starling-nobody'))
  const command = { client, screen: new Notebook(), signal, json: false }
  await assert.rejects(runVerify(command), error => isCode(error, 'UNAVAILABLE'))
  const mode = { dryRun: false, now: false }
  await assert.rejects(client.collect(mode, signal), error => isCode(error, 'UNAVAILABLE'))
})

test('no TCP port takes operations', async t => {
  const listen = { host: '127.0.0.1', port: 0 }
  const node = new ScriptedNode()
  const server = await AdminServer.open({ listen, introspection: node, log: silentLog })
  t.after(() => server.close())
  for (const path of ['/collect', '/verify']) {
    const url = `http://127.0.0.1:${server.port}${path}`
    assert.equal((await fetch(url, { method: 'POST' })).status, 404)
  }
  assert.deepEqual(node.modes, [])
})

async function openNode(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-operations-'))
  t.after(() => rm(dataDir, { recursive: true, force: true }))
  const node = new ScriptedNode()
  const server = await openControl({
    ...{ dataDir, introspection: node, operations: node },
    log: silentLog
  })
  t.after(() => server.close())
  return { node, client: controlOfData(dataDir) }
}
