import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../helpers/command.ts'
import { debianImage, type LayoutImage } from './debian.ts'
import { openPair } from './pair.ts'

const REPOSITORY = 'team/debian'

let image: LayoutImage

const pair = openPair('skopeo', async () => {
  image = await debianImage()
})

test('skopeo pushes to one node and pulls the same bytes from another at once', async () => {
  const source = `oci:${image.layout}:bookworm`
  await skopeo('copy', source, `docker://${pair.first}/${REPOSITORY}:bookworm`)

  const target = join(pair.directory, 'pulled')
  await skopeo('copy', `docker://${pair.second}/${REPOSITORY}:bookworm`, `dir:${target}`)
  const { digest } = await inspect(`${pair.second}/${REPOSITORY}:bookworm`)
  assert.equal(digest, image.digest)
  const manifest = await readFile(join(target, 'manifest.json'))
  const [algorithm, hex] = image.digest.split(':') as [string, string]
  assert.deepEqual(manifest, await readFile(join(image.layout, 'blobs', algorithm, hex)))
})

test('skopeo pulls by digest', async () => {
  const { digest } = await inspect(`${pair.second}/${REPOSITORY}@${image.digest}`)
  assert.equal(digest, image.digest)
})

test('skopeo converts an image to Docker schema 2 on the way, and its type is kept', async () => {
  const source = `oci:${image.layout}:bookworm`
  await skopeo('copy', '--format', 'v2s2', source, `docker://${pair.first}/${REPOSITORY}:docker`)
  const raw = await skopeo('inspect', '--raw', `docker://${pair.second}/${REPOSITORY}:docker`)
  const { mediaType } = JSON.parse(raw) as { mediaType: string }
  assert.equal(mediaType, 'application/vnd.docker.distribution.manifest.v2+json')
})

test('skopeo copies between repositories and between nodes', async () => {
  const source = `docker://${pair.first}/${REPOSITORY}:bookworm`
  await skopeo('copy', source, `docker://${pair.second}/copies/debian:bookworm`)
  const { digest } = await inspect(`${pair.first}/copies/debian:bookworm`)
  assert.equal(digest, image.digest)
})

test('skopeo lists the tags of a repository', async () => {
  const listed = JSON.parse(await skopeo('list-tags', `docker://${pair.second}/${REPOSITORY}`))
  assert.deepEqual(listed.Tags, ['bookworm', 'docker'])
})

test('skopeo is told that an image is unknown', async () => {
  await assert.rejects(
    inspect(`${pair.second}/${REPOSITORY}:nonesuch`),
    /manifest unknown|not found/
  )
})

test('skopeo deletes an image on one node, and no node has any of its tags', async () => {
  await skopeo('delete', `docker://${pair.first}/copies/debian:bookworm`)
  for (const node of pair.both) {
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
