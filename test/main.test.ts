import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { openControl } from '../src/admin/control.ts'
import { silentLog } from '../src/log.ts'
import { DIGEST, ScriptedNode, STATUS } from './admin/scripted-node.ts'

const MAIN = new URL('../src/main.ts', import.meta.url).pathname

let dataDir = ''
before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'starling-main-'))
})
after(() => rm(dataDir, { recursive: true }))

test('wrong usage exits 2 and says what was expected', async () => {
  const usages: readonly (readonly [string, RegExp])[] = [
    ['', /Usage: starling/],
    ['fly', /unknown command 'fly'/],
    ['serve --wings 2', /unknown option '--wings'/],
    ['serve --mesh nowhere --join mdns', /--mesh: expected(.|\n)*--secret-file: expected/],
    ['wait app --nodes 0 --timeout soon', /ref: expected(.|\n)*--nodes: .*(.|\n)*--timeout: /],
    ['status --url nowhere', /--url: expected/]
  ]
  const ends = await Promise.all(usages.map(([line]) => starling(line)))
  for (const [index, [line, words]] of usages.entries()) {
    assert.equal(ends[index]?.code, 2, line)
    assert.match(ends[index]?.stderr ?? '', words)
  }
})

test('each of several wrong settings is an error in a line of its own', async () => {
  const { stderr } = await starling('serve --mesh nowhere --copies none')
  const lines = stderr.trimEnd().split('\n')
  assert.equal(lines.length, 2)
  for (const line of lines) assert.match(line, /^error: --(mesh|copies): expected/)
})

test('beside what is wrong stand the variables that were ignored, one of which may be meant', async () => {
  const { stderr } = await starling('serve --copies none --secret-file /none', {
    STARLING_COPYS: '3'
  })
  const [warning, ...errors] = stderr.trimEnd().split('\n')
  assert.equal(warning, 'warning: STARLING_COPYS: no such setting, ignored')
  assert.equal(errors.length, 2)
  assert.match(errors[0] ?? '', /^error: --secret-file: cannot read \/none \(ENOENT\)/)
  assert.match(errors[1] ?? '', /^error: --copies: expected/)
})

test('a node whose disk fails at the start says which file it was', async () => {
  const data = join(dataDir, 'failing')
  const stray = join(data, 'partial', '1.tmp')
  await mkdir(stray, { recursive: true })
  const free = ['registry', 'admin', 'mesh', 'transfer'].map(name => `--${name} 127.0.0.1:0`)
  const { code, stderr } = await starling(`serve --data ${data} ${free.join(' ')}`)
  assert.equal(code, 1)
  assert.ok(stderr.includes(stray))
})

test('asking for help or the version is no error', async () => {
  const [help, version] = await Promise.all([starling('serve --help'), starling('--version')])
  assert.equal(help.code, 0)
  assert.match(help.stdout, /--secret-file <file>/)
  assert.equal(version.code, 0)
  assert.match(version.stdout, /^\d+\.\d+\.\d+\n$/)
})

test('help tells the default of what has a value, and none of a switch', async () => {
  const { stdout } = await starling('wait --help')
  assert.match(stdout, /--timeout <duration> .*"300s"/)
  assert.match(stdout, /--json +the outcome as JSON\n/)
})

test('a command that finds no node exits 3, names where it looked and what to do', async () => {
  const { code, stderr } = await starling(`status --data ${dataDir}`)
  assert.equal(code, 3)
  assert.ok(stderr.includes(join(dataDir, 'control.sock')))
  assert.match(stderr, /start one with `serve`/)
})

test('status and wait ask the node that keeps its data there', async () => {
  const introspection = new ScriptedNode()
  introspection.holders = [[{ id: '1', name: 'one', state: 'live', holds: true, missing: [] }]]
  const server = await openControl({
    ...{ dataDir, introspection, operations: introspection },
    log: silentLog
  })
  const [status, reached, late] = await Promise.all([
    starling('status --json', { STARLING_DATA: dataDir }),
    starling(`wait team/app@${DIGEST} --data ${dataDir}`),
    starling(`wait team/app:v1 --nodes 2 --timeout 1ms --data ${dataDir}`)
  ])
  await server.close()
  assert.deepEqual(JSON.parse(status.stdout), STATUS)
  assert.deepEqual([status.code, reached.code, late.code], [0, 0, 1])
  assert.match(reached.stdout, /is on 1 of 1 node\n$/)
})

interface End {
  readonly code: number | string | null | undefined
  readonly stdout: string
  readonly stderr: string
}

function starling(line: string, env: Readonly<Record<string, string>> = {}): Promise<End> {
  const words = line.split(' ').filter(word => word !== '')
  return new Promise(resolve => {
    execFile(process.execPath, [MAIN, ...words], { env }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, stdout, stderr })
    })
  })
}
