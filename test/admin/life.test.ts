import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { clientOfData } from '../../src/admin/client.ts'
import { runEvents } from '../../src/admin/commands/events.ts'
import { runForget } from '../../src/admin/commands/forget.ts'
import { runLs } from '../../src/admin/commands/ls.ts'
import { openControl } from '../../src/admin/control.ts'
import { controlOfData } from '../../src/admin/control-client.ts'
import { isCode } from '../../src/errors.ts'
import type { Happening } from '../../src/happening.ts'
import { silentLog } from '../../src/log.ts'
import { DIGEST, Notebook, ScriptedNode } from './scripted-node.ts'

const { signal } = new AbortController()
const MOVED: Happening = {
  ...{ at: '2026-11-22T20:00:00.000Z', kind: 'tag', repository: 'team/app', tag: 'v1' },
  ...{ digest: DIGEST, before: null, conflict: false }
}
const LOST: Happening = {
  ...{ at: '2026-11-22T20:00:01.000Z', kind: 'member', id: '12D3', name: 'six', state: 'away' }
}

test('ls lists every tag, or those of one repository', async t => {
  const { dataDir } = await openNode(t)
  const client = clientOfData(dataDir)
  const screen = new Notebook()
  const command = { client, screen, signal, repository: undefined, json: false }
  assert.equal(await runLs(command), 0)
  assert.equal(screen.text, 'team/app:v1  sha256:abababababab  4.8 MiB  copies 2 of 2\n')
  const json = new Notebook()
  await runLs({ ...command, screen: json, repository: 'team/app', json: true })
  const image = JSON.parse(json.text) as { tag: string; holders: number }
  assert.deepEqual([image.tag, image.holders], ['v1', 2])
  const other = new Notebook()
  const unknown = runLs({ ...command, screen: other, repository: 'team/other' })
  await assert.rejects(unknown, error => isCode(error, 'NAME_UNKNOWN'))
})

test('events tells what the node remembers, and ends there when it is not to follow', async t => {
  const { node, dataDir } = await openNode(t)
  node.happenings.push(MOVED, LOST)
  const client = clientOfData(dataDir)
  const screen = new Notebook()
  assert.equal(await runEvents({ client, screen, signal, follow: false, json: false }), 0)
  assert.match(screen.text, /^2026-11-22T20:00:00.000Z {2}tag {7}team\/app:v1 is sha256:abab/)
  assert.match(screen.text, /member {4}six is away \(12D3\)\n$/)
})

test('events goes on until it is told to stop, in JSON a line each', async t => {
  const { node, dataDir } = await openNode(t)
  node.happenings.push(MOVED)
  const stop = new AbortController()
  const lines: string[] = []
  const screen = {
    write: (text: string) => {
      lines.push(text)
      stop.abort()
    }
  }
  const client = clientOfData(dataDir)
  const command = { client, screen, signal: stop.signal, follow: true, json: true }
  assert.equal(await runEvents(command), 0)
  assert.deepEqual(
    lines.map(line => JSON.parse(line)),
    [MOVED]
  )
})

test('events that are broken off by the node are an error', async t => {
  const { node, dataDir, close } = await openNode(t)
  node.happenings.push(MOVED)
  const screen = { write: () => void close() }
  const client = clientOfData(dataDir)
  await assert.rejects(runEvents({ client, screen, signal, follow: true, json: false }), error =>
    isCode(error, 'UNAVAILABLE')
  )
})

test('forget says what became of it, and exits 1 when nobody was forgotten', async t => {
  const { node, dataDir } = await openNode(t)
  const client = controlOfData(dataDir)
  const command = { client, name: 'six', signal, json: false }
  const outcomes = [
    [{ kind: 'forgotten', ids: ['12D3'] }, 0, /^six is forgotten/],
    [{ kind: 'live' }, 1, /stop it first/],
    [{ kind: 'unknown' }, 1, /no other member called six/]
  ] as const
  for (const [outcome, code, words] of outcomes) {
    node.forgotten = outcome
    const screen = new Notebook()
    assert.equal(await runForget({ ...command, screen }), code)
    assert.match(screen.text, words)
  }
  const screen = new Notebook()
  await runForget({ ...command, screen, json: true })
  assert.deepEqual(JSON.parse(screen.text), { name: 'six', kind: 'unknown' })
})

async function openNode(t: TestContext) {
  const dataDir = await mkdtemp(join(tmpdir(), 'starling-life-'))
  const node = new ScriptedNode()
  const options = { dataDir, introspection: node, operations: node, log: silentLog }
  const server = await openControl(options)
  t.after(async () => {
    await server.close()
    await rm(dataDir, { recursive: true })
  })
  return { node, dataDir, close: () => server.close() }
}
