/** Archives that real tools wrote are imported, and those that export writes are read by them. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { run } from '../helpers/command.ts'
import { Containerd } from './containerd.ts'
import { debianImage, type LayoutImage } from './debian.ts'
import { openPair } from './pair.ts'

const MAIN = new URL('../../src/main.ts', import.meta.url).pathname

let image: LayoutImage
let containerd: Containerd

const pair = openPair('archives', async () => {
  image = await debianImage()
  containerd = await Containerd.start()
})

after(() => containerd?.close())

test('an OCI archive of skopeo is the same image in the cluster, plain or packed', async () => {
  const archive = join(pair.directory, 'oci.tar')
  const name = 'site/debian:oci'
  await run('skopeo', ['copy', `oci:${image.layout}:bookworm`, `oci-archive:${archive}:${name}`])
  await starling(pair.first, 'import', archive)
  assert.equal(await digestOf(`docker://${pair.second}/${name}`), image.digest)
  for (const [pack, packed] of [
    ['gzip', `${archive}.gz`],
    ['zstd', `${archive}.zst`]
  ] as const) {
    await run(pack, ['--keep', '--quiet', archive])
    await starling(pair.second, 'import', packed, '--as', `site/${pack}:v1`)
    assert.equal(await digestOf(`docker://${pair.first}/site/${pack}:v1`), image.digest)
  }
})

test('a docker archive of skopeo is pulled from the cluster, and runs', async () => {
  const archive = join(pair.directory, 'docker.tar')
  const name = 'docker.example/site/debian:v1'
  await run('skopeo', ['copy', `oci:${image.layout}:bookworm`, `docker-archive:${archive}:${name}`])
  const source = `docker-archive:${archive}`
  const imported = await starling(pair.first, 'import', archive)
  assert.match(imported, /^docker\.example\/site\/debian:v1 imported/)
  const target = `docker://${pair.second}/${name}`
  assert.deepEqual(await inspect('--config', target), await inspect('--config', source))
  await containerd.mirror('docker.example', pair.second)
  await containerd.images.pull(name)
  const read = containerd.runIn(name, 'one', 'cat', '/etc/debian_version')
  assert.match(await read, /^12\./)
})

test('an exported archive is the same image to skopeo and containerd', async () => {
  const name = 'site/debian:out'
  const from = `oci:${image.layout}:bookworm`
  const insecure = '--dest-tls-verify=false'
  await run('skopeo', ['copy', insecure, from, `docker://${pair.first}/${name}`])
  const archive = join(pair.directory, 'exported.tar')
  await starling(pair.second, 'export', name, archive)
  assert.equal(await digestOf(`oci-archive:${archive}`), image.digest)
  await containerd.import(archive)
  assert.equal(await containerd.digestOf(name), image.digest)
})

async function digestOf(reference: string): Promise<string> {
  return ((await inspect(reference)) as { Digest: string }).Digest
}

async function inspect(...words: readonly string[]): Promise<unknown> {
  return JSON.parse(await run('skopeo', ['inspect', '--tls-verify=false', ...words]))
}

function starling(registry: string, ...words: readonly string[]): Promise<string> {
  return run(process.execPath, [MAIN, ...words, '--url', `http://${registry}`])
}
