import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import { goTool } from './tools.ts'

const PLAIN = '--plain-http'

let cluster: Cluster
let program: string
let directory: string
let first: string
let second: string
let pushedDigest: string

const bundle = randomBytes(3 * 1024 * 1024)
const notes = Buffer.from('what this bundle is\n')

before(async () => {
  program = await goTool('oras')
  directory = await mkdtemp(join(tmpdir(), 'starling-oras-'))
  const started = await Cluster.start(2)
  cluster = started.cluster
  ;[first, second] = started.nodes.map(node => node.addresses.registry) as [string, string]
})

after(async () => {
  await cluster?.close()
  await rm(directory, { recursive: true, force: true })
})

test('oras pushes files of any type to one node and pulls them from another at once', async () => {
  await writeFile(join(directory, 'bundle.bin'), bundle)
  await writeFile(join(directory, 'notes.txt'), notes)
  const files = ['bundle.bin:application/vnd.example.bundle', 'notes.txt:text/plain']
  const type = ['--artifact-type', 'application/vnd.example.kit', '--format', 'json']
  const pushed = await oras('push', PLAIN, ...type, `${first}/kits/one:1.0`, ...files)
  pushedDigest = (JSON.parse(pushed) as { digest: string }).digest

  const target = join(directory, 'pulled')
  await mkdir(target)
  await oras('pull', PLAIN, '--output', target, `${second}/kits/one:1.0`)
  assert.deepEqual(await readFile(join(target, 'bundle.bin')), bundle)
  assert.deepEqual(await readFile(join(target, 'notes.txt')), notes)
})

test('oras resolves a tag to the digest it pushed', async () => {
  assert.equal(await oras('resolve', PLAIN, `${second}/kits/one:1.0`), pushedDigest)
})

test('oras tags and copies between nodes', async () => {
  await oras('tag', PLAIN, `${second}/kits/one:1.0`, 'latest')
  const source = ['--from-plain-http', `${first}/kits/one:latest`]
  await oras('copy', ...source, '--to-plain-http', `${second}/kits/two:1.0`)
  assert.equal(await oras('resolve', PLAIN, `${first}/kits/two:1.0`), pushedDigest)
})

test('oras lists tags and repositories on every node', async () => {
  for (const node of [first, second]) {
    assert.equal(await oras('repo', 'tags', PLAIN, `${node}/kits/one`), '1.0\nlatest')
    assert.equal(await oras('repo', 'ls', PLAIN, node), 'kits/one\nkits/two')
  }
})

test('oras pushes and fetches a blob by itself', async () => {
  const file = join(directory, 'bundle.bin')
  const pushed = await oras('blob', 'push', PLAIN, `${first}/kits/one`, file, '--descriptor')
  const { digest } = JSON.parse(pushed) as { digest: string }
  const target = join(directory, 'fetched.bin')
  await oras('blob', 'fetch', PLAIN, '--output', target, `${second}/kits/one@${digest}`)
  assert.deepEqual(await readFile(target), bundle)
})

function oras(...args: string[]): Promise<string> {
  return run(program, args, { cwd: directory })
}
