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

test('oras attaches to an artifact what another node then lists as its referrers', async () => {
  await writeFile(join(directory, 'sbom.json'), '{"packages":[]}')
  await writeFile(join(directory, 'signature'), 'signed')
  const attach = (type: string, file: string) =>
    oras('attach', PLAIN, '--artifact-type', type, `${first}/kits/one:1.0`, file)
  await attach('application/vnd.example.sbom', 'sbom.json:application/json')
  await attach('application/vnd.example.signature', 'signature:text/plain')

  const all = await referrers()
  assert.deepEqual(all.map(({ artifactType }) => artifactType).sort(), [
    'application/vnd.example.sbom',
    'application/vnd.example.signature'
  ])
  const [sbom, ...others] = await referrers('--artifact-type', 'application/vnd.example.sbom')
  assert.deepEqual(others, [])
  const target = join(directory, 'attached')
  await oras('pull', PLAIN, '--output', target, `${second}/kits/one@${sbom?.digest}`)
  assert.equal(await readFile(join(target, 'sbom.json'), 'utf8'), '{"packages":[]}')
})

test('oras lists no referrers under tags of its own, since the registry lists them', async () => {
  assert.equal(await oras('repo', 'tags', PLAIN, `${second}/kits/one`), '1.0\nlatest')
})

test('oras copies an artifact and all that refers to it', async () => {
  const source = ['--recursive', '--from-plain-http', `${second}/kits/one:1.0`]
  await oras('copy', ...source, '--to-plain-http', `${first}/kits/three:1.0`)
  const listed = await discover(`${second}/kits/three:1.0`)
  assert.equal(listed.length, 2)
})

test('oras deletes a referrer and a manifest, and then a blob that nothing needs', async () => {
  const [first3] = await discover(`${second}/kits/three:1.0`)
  const name = `${first}/kits/three`
  await oras('manifest', 'delete', PLAIN, '--force', `${name}@${first3?.digest}`)
  assert.equal((await discover(`${second}/kits/three:1.0`)).length, 1)
  await oras('manifest', 'delete', PLAIN, '--force', `${name}@${pushedDigest}`)
  await assert.rejects(oras('resolve', PLAIN, `${second}/kits/three:1.0`), /not found/)

  const alone = join(directory, 'alone')
  await writeFile(alone, 'needed by nothing')
  const pushed = await oras('blob', 'push', PLAIN, name, alone, '--descriptor')
  const { digest } = JSON.parse(pushed) as { digest: string }
  await oras('blob', 'delete', PLAIN, '--force', `${name}@${digest}`)
  await assert.rejects(oras('blob', 'fetch', PLAIN, '--output', '-', `${name}@${digest}`))
})

interface Referrer {
  readonly digest: string
  readonly artifactType: string
}

function referrers(...flags: string[]): Promise<readonly Referrer[]> {
  return discover(`${second}/kits/one:1.0`, ...flags)
}

async function discover(reference: string, ...flags: string[]): Promise<readonly Referrer[]> {
  const text = await oras('discover', PLAIN, '--format', 'json', ...flags, reference)
  return (JSON.parse(text) as { referrers?: Referrer[] }).referrers ?? []
}

function oras(...args: string[]): Promise<string> {
  return run(program, args, { cwd: directory })
}
