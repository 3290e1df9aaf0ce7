/** containerd by itself: as a client that pushes, and as a node that pulls through `hosts.toml`. */
import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { run } from '../helpers/command.ts'
import { Containerd } from './containerd.ts'
import { debianImage, type LayoutImage } from './debian.ts'
import { openPair } from './pair.ts'

const NAME = 'registry.example/library/debian:bookworm'

let containerd: Containerd
let image: LayoutImage

const pair = openPair('containerd', async pair => {
  image = await debianImage()
  containerd = await Containerd.start()
  const target = `docker://${pair.first}/${NAME}`
  await run('skopeo', ['copy', '--dest-tls-verify=false', `oci:${image.layout}:bookworm`, target])
})

after(() => containerd?.close())

test('containerd pulls by a name of another registry, through a mirror that hosts.toml gives it', async () => {
  await containerd.mirror('registry.example', pair.second)
  await containerd.images.pull(NAME)
  assert.equal(await containerd.digestOf(NAME), image.digest)
})

test('containerd pulls by the digest, too', async () => {
  const byDigest = `registry.example/library/debian@${image.digest}`
  await containerd.images.pull(byDigest)
  assert.ok(await containerd.images.has(byDigest))
})

test('containerd pushes to one node what is then the same on another', async () => {
  const pushed = `${pair.second}/pushed/debian:by-containerd`
  await containerd.push(NAME, pushed)
  assert.equal(await digestAt(`${pair.first}/pushed/debian:by-containerd`), image.digest)
})

test('containerd pushes again what is there, and to another repository of the same node', async () => {
  await containerd.push(NAME, `${pair.second}/pushed/debian:by-containerd`)
  await containerd.push(NAME, `${pair.second}/pushed/again:1`)
  assert.equal(await digestAt(`${pair.first}/pushed/again:1`), image.digest)
})

test('what containerd pushed, it pulls from nothing and runs', async () => {
  await containerd.forget(NAME)
  const name = `${pair.first}/pushed/again:1`
  await containerd.mirror(pair.first, pair.first)
  await containerd.images.pull(name)
  assert.match(await containerd.runIn(name, 'one', 'cat', '/etc/debian_version'), /^12\./)
})

test('containerd is told that an image is unknown', async () => {
  const unknown = containerd.images.pull('registry.example/library/nonesuch:1')
  await assert.rejects(unknown, /not found/)
})

async function digestAt(reference: string): Promise<string> {
  const printed = await run('skopeo', ['inspect', '--tls-verify=false', `docker://${reference}`])
  return (JSON.parse(printed) as { Digest: string }).Digest
}
