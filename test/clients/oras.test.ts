import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../helpers/command.ts'
import { openPair } from './pair.ts'
import { goTool } from './tools.ts'

const PLAIN = '--plain-http'

let program: string
let pushedDigest: string

const bundle = randomBytes(3 * 1024 * 1024)
const notes = Buffer.from('what this bundle is\n')

const pair = openPair('oras', async () => {
  program = await goTool('oras')
})

test('oras pushes files of any type to one node and pulls them from another at once', async () => {
  await writeFile(join(pair.directory, 'bundle.bin'), bundle)
  await writeFile(join(pair.directory, 'notes.txt'), notes)
  const files = ['bundle.bin:application/vnd.example.bundle', 'notes.txt:text/plain']
  const type = ['--artifact-type', 'application/vnd.example.kit', '--format', 'json']
  const pushed = await oras('push', PLAIN, ...type, `${pair.first}/kits/one:1.0`, ...files)
  pushedDigest = (JSON.parse(pushed) as { digest: string }).digest

  const target = join(pair.directory, 'pulled')
  await mkdir(target)
  await oras('pull', PLAIN, '--output', target, `${pair.second}/kits/one:1.0`)
  assert.deepEqual(await readFile(join(target, 'bundle.bin')), bundle)
  assert.deepEqual(await readFile(join(target, 'notes.txt')), notes)
})

test('oras resolves a tag to the digest it pushed', async () => {
  assert.equal(await oras('resolve', PLAIN, `${pair.second}/kits/one:1.0`), pushedDigest)
})

test('oras tags and copies between nodes', async () => {
  await oras('tag', PLAIN, `${pair.second}/kits/one:1.0`, 'latest')
  const source = ['--from-plain-http', `${pair.first}/kits/one:latest`]
  await oras('copy', ...source, '--to-plain-http', `${pair.second}/kits/two:1.0`)
  assert.equal(await oras('resolve', PLAIN, `${pair.first}/kits/two:1.0`), pushedDigest)
})

test('oras lists tags and repositories on every node', async () => {
  for (const node of pair.both) {
    assert.equal(await oras('repo', 'tags', PLAIN, `${node}/kits/one`), '1.0\nlatest')
    assert.equal(await oras('repo', 'ls', PLAIN, node), 'kits/one\nkits/two')
  }
})

test('oras pushes and fetches a blob by itself', async () => {
  const file = join(pair.directory, 'bundle.bin')
  const pushed = await oras('blob', 'push', PLAIN, `${pair.first}/kits/one`, file, '--descriptor')
  const { digest } = JSON.parse(pushed) as { digest: string }
  const target = join(pair.directory, 'fetched.bin')
  await oras('blob', 'fetch', PLAIN, '--output', target, `${pair.second}/kits/one@${digest}`)
  assert.deepEqual(await readFile(target), bundle)
})

test('oras attaches to an artifact what another node then lists as its referrers', async () => {
  await writeFile(join(pair.directory, 'sbom.json'), '{"packages":[]}')
  await writeFile(join(pair.directory, 'signature'), 'signed')
  const attach = (type: string, file: string) =>
    oras('attach', PLAIN, '--artifact-type', type, `${pair.first}/kits/one:1.0`, file)
  await attach('application/vnd.example.sbom', 'sbom.json:application/json')
  await attach('application/vnd.example.signature', 'signature:text/plain')

  const all = await referrers()
  assert.deepEqual(all.map(({ artifactType }) => artifactType).sort(), [
    'application/vnd.example.sbom',
    'application/vnd.example.signature'
  ])
  const [sbom, ...others] = await referrers('--artifact-type', 'application/vnd.example.sbom')
  assert.deepEqual(others, [])
  const target = join(pair.directory, 'attached')
  await oras('pull', PLAIN, '--output', target, `${pair.second}/kits/one@${sbom?.digest}`)
  assert.equal(await readFile(join(target, 'sbom.json'), 'utf8'), '{"packages":[]}')
})

test('oras lists no referrers under tags of its own, since the registry lists them', async () => {
  assert.equal(await oras('repo', 'tags', PLAIN, `${pair.second}/kits/one`), '1.0\nlatest')
})

test('oras copies an artifact and all that refers to it', async () => {
  const source = ['--recursive', '--from-plain-http', `${pair.second}/kits/one:1.0`]
  await oras('copy', ...source, '--to-plain-http', `${pair.first}/kits/three:1.0`)
  const listed = await discover(`${pair.second}/kits/three:1.0`)
  assert.equal(listed.length, 2)
})

test('oras deletes a referrer and a manifest, and then a blob that nothing needs', async () => {
  const [first3] = await discover(`${pair.second}/kits/three:1.0`)
  const name = `${pair.first}/kits/three`
  await oras('manifest', 'delete', PLAIN, '--force', `${name}@${first3?.digest}`)
  assert.equal((await discover(`${pair.second}/kits/three:1.0`)).length, 1)
  await oras('manifest', 'delete', PLAIN, '--force', `${name}@${pushedDigest}`)
  await assert.rejects(oras('resolve', PLAIN, `${pair.second}/kits/three:1.0`), /not found/)

  const alone = join(pair.directory, 'alone')
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
  return discover(`${pair.second}/kits/one:1.0`, ...flags)
}

async function discover(reference: string, ...flags: string[]): Promise<readonly Referrer[]> {
  const text = await oras('discover', PLAIN, '--format', 'json', ...flags, reference)
  return (JSON.parse(text) as { referrers?: Referrer[] }).referrers ?? []
}

function oras(...args: string[]): Promise<string> {
  return run(program, args, { cwd: pair.directory })
}
