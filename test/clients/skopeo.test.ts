import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import { debianImage, type LayoutImage } from './debian.ts'

const REPOSITORY = 'team/debian'

let cluster: Cluster
let image: LayoutImage
let directory: string
let first: string
let second: string

before(async () => {
  image = await debianImage()
  directory = await mkdtemp(join(tmpdir(), 'starling-skopeo-'))
  const started = await Cluster.start(2)
  cluster = started.cluster
  ;[first, second] = started.nodes.map(node => node.addresses.registry) as [string, string]
})

after(async () => {
  await cluster?.close()
  await rm(directory, { recursive: true, force: true })
})

test('skopeo pushes to one node and pulls the same bytes from another at once', async () => {
  const source = `oci:${image.layout}:bookworm`
  await skopeo('copy', source, `docker://${first}/${REPOSITORY}:bookworm`)

  const target = join(directory, 'pulled')
  await skopeo('copy', `docker://${second}/${REPOSITORY}:bookworm`, `dir:${target}`)
  const { digest } = await inspect(`${second}/${REPOSITORY}:bookworm`)
  assert.equal(digest, image.digest)
  const manifest = await readFile(join(target, 'manifest.json'))
  const [algorithm, hex] = image.digest.split(':') as [string, string]
  assert.deepEqual(manifest, await readFile(join(image.layout, 'blobs', algorithm, hex)))
})

test('skopeo pulls by digest', async () => {
  const { digest } = await inspect(`${second}/${REPOSITORY}@${image.digest}`)
  assert.equal(digest, image.digest)
})

test('skopeo converts an image to Docker schema 2 on the way, and its type is kept', async () => {
  const source = `oci:${image.layout}:bookworm`
  await skopeo('copy', '--format', 'v2s2', source, `docker://${first}/${REPOSITORY}:docker`)
  const raw = await skopeo('inspect', '--raw', `docker://${second}/${REPOSITORY}:docker`)
  const { mediaType } = JSON.parse(raw) as { mediaType: string }
  assert.equal(mediaType, 'application/vnd.docker.distribution.manifest.v2+json')
})

test('skopeo copies between repositories and between nodes', async () => {
  const source = `docker://${first}/${REPOSITORY}:bookworm`
  await skopeo('copy', source, `docker://${second}/copies/debian:bookworm`)
  const { digest } = await inspect(`${first}/copies/debian:bookworm`)
  assert.equal(digest, image.digest)
})

test('skopeo lists the tags of a repository', async () => {
  const listed = JSON.parse(await skopeo('list-tags', `docker://${second}/${REPOSITORY}`))
  assert.deepEqual(listed.Tags, ['bookworm', 'docker'])
})

test('skopeo is told that an image is unknown', async () => {
  await assert.rejects(inspect(`${second}/${REPOSITORY}:nonesuch`), /manifest unknown|not found/)
})

test('skopeo deletes an image on one node, and no node has any of its tags', async () => {
  await skopeo('delete', `docker://${first}/copies/debian:bookworm`)
  for (const node of [first, second]) {
    await assert.rejects(inspect(`${node}/copies/debian:bookworm`), /manifest unknown|not found/)
    assert.equal((await inspect(`${node}/${REPOSITORY}:bookworm`)).digest, image.digest)
  }
})

async function inspect(reference: string): Promise<{ digest: string }> {
  const text = await skopeo('inspect', `docker://${reference}`)
  return { digest: (JSON.parse(text) as { Digest: string }).Digest }
}

function skopeo(command: string, ...args: string[]): Promise<string> {
  const insecure =
    command === 'copy'
      ? ['--src-tls-verify=false', '--dest-tls-verify=false']
      : ['--tls-verify=false']
  return run('skopeo', [command, ...insecure, ...args])
}
