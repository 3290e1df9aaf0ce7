/** Images brought into a cluster and out of it in a directory, without another tool. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { makeImage } from '../../src/demo/image.ts'
import { type Digest, digestOf, hexOf } from '../../src/digest.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname
const INDEX = 'application/vnd.oci.image.index.v1+json'

let cluster: Cluster
let from: Daemon
let to: Daemon

before(async () => {
  cluster = await Cluster.open()
  from = await cluster.node('from')
  // Clients may not push there; who runs the node may.
  to = await cluster.node('to', { flags: ['--anonymous', 'pull'] })
  for (const node of [from, to]) await node.ready()
})

after(() => cluster?.close())

test('an image is carried from one cluster to another, whole and under its name', async () => {
  const image = makeImage([2_000_000, 30])
  await pushImage({ registry: from.addresses.registry, repository: 'site/app', tag: 'v1' }, image)
  const directory = join(cluster.directory, 'carried')
  const exported = await starling(from, 'export', 'site/app:v1', directory, '--json')
  assert.equal(exported.code, 0, exported.stderr)
  const { digest, blobs, bytes } = JSON.parse(exported.stdout)
  assert.deepEqual(
    { digest, blobs, bytes },
    { digest: image.digest, blobs: 4, bytes: image.sizeBytes }
  )

  const imported = await starling(to, 'import', directory)
  assert.equal(imported.code, 0, imported.stderr)
  assert.match(imported.stdout, /^site\/app:v1 imported, 3 blobs \(1\.9 MiB\) sent\n$/)
  const there = { registry: to.addresses.registry, repository: 'site/app', tag: 'v1' }
  assert.equal(await pullImage(there), image.sizeBytes)

  const again = await starling(to, 'import', directory, '--as', 'other/app:v2', '--json')
  assert.equal(again.code, 0, again.stderr)
  assert.equal(JSON.parse(again.stdout).reference, 'other/app:v2')
  assert.equal(await pullImage({ ...there, repository: 'other/app', tag: 'v2' }), image.sizeBytes)
})

test('an index goes with those of its images that are there', async () => {
  const [present, absent] = [makeImage([1_000]), makeImage([1_000])]
  const named = ({ digest, manifest, mediaType }: typeof present) => {
    return { mediaType, digest, size: manifest.length }
  }
  const index = { schemaVersion: 2, mediaType: INDEX, manifests: [present, absent].map(named) }
  const bytes = Buffer.from(JSON.stringify(index))
  const files = [bytes, Buffer.from(present.manifest)]
  for (const blob of present.blobs) files.push(Buffer.concat(await Array.fromAsync(blob.bytes())))
  const root = { mediaType: INDEX, digest: digestOf(bytes), size: bytes.length }
  const directory = await layoutOf('index', files, root)

  const nameless = await starling(to, 'import', directory)
  assert.equal(nameless.code, 2)
  assert.match(nameless.stderr, /1 of 1 images have no name: give one with --as/)
  const imported = await starling(to, 'import', directory, '--as', 'site/index:v1')
  assert.equal(imported.code, 0, imported.stderr)
  const out = join(cluster.directory, 'index-out')
  const exported = await starling(to, 'export', `site/index@${root.digest}`, out)
  assert.equal(exported.code, 0, exported.stderr)
  for (const file of files) {
    assert.deepEqual(await readFile(pathIn(out, digestOf(file))), file)
  }
})

test('what is damaged, not there, or no layout is refused', async () => {
  const image = makeImage([1_000])
  await pushImage({ registry: from.addresses.registry, repository: 'site/bad', tag: 'v1' }, image)
  const directory = join(cluster.directory, 'damaged')
  await starling(from, 'export', 'site/bad:v1', directory)
  await appendFile(pathIn(directory, image.blobs[1]?.digest as Digest), 'x')
  const damaged = await starling(to, 'import', directory)
  assert.equal(damaged.code, 1, damaged.stderr)
  assert.match(damaged.stderr, /the bytes are sha256:/)
  const full = await starling(from, 'export', 'site/bad:v1', directory)
  assert.equal(full.code, 2)
  assert.match(full.stderr, /not empty/)
  const unknown = await starling(from, 'export', 'site/bad:v9', join(cluster.directory, 'none'))
  assert.deepEqual(
    [unknown.code, unknown.stderr],
    [1, 'error: site/bad:v9 is not known: `ls` lists what is\n']
  )
  const file = join(cluster.directory, 'archive.tar')
  await writeFile(file, 'no archive')
  const archive = await starling(to, 'import', file)
  assert.equal(archive.code, 2)
  assert.match(archive.stderr, /is no tar archive/)
})

test('through the registry port what a client may do decides', async () => {
  const directory = join(cluster.directory, 'carried')
  const url = `http://${to.addresses.registry}`
  const denied = await starling(undefined, 'import', directory, '--as', 'x/y:v1', '--url', url)
  assert.equal(denied.code, 1, denied.stderr)
  const open = `http://${from.addresses.registry}`
  const taken = await starling(undefined, 'import', directory, '--as', 'x/y:v1', '--url', open)
  assert.equal(taken.code, 0, taken.stderr)
})

async function layoutOf(name: string, files: readonly Buffer[], root: unknown): Promise<string> {
  const directory = join(cluster.directory, name)
  await mkdir(join(directory, 'blobs', 'sha256'), { recursive: true })
  for (const file of files) await writeFile(pathIn(directory, digestOf(file)), file)
  const index = { schemaVersion: 2, manifests: [root] }
  await writeFile(join(directory, 'index.json'), JSON.stringify(index))
  await writeFile(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  return directory
}

function pathIn(directory: string, digest: Digest): string {
  return join(directory, 'blobs', 'sha256', hexOf(digest))
}

function starling(node: Daemon | undefined, ...words: readonly string[]) {
  const data = node === undefined ? [] : ['--data', node.options.dataDir]
  const line = [MAIN, ...words, ...data]
  return new Promise<{ code: unknown; stdout: string; stderr: string }>(resolve => {
    execFile(process.execPath, line, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : error.code, stdout, stderr })
    })
  })
}
