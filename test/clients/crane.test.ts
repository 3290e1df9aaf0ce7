import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { Cluster } from '../helpers/cluster.ts'
import { run } from '../helpers/command.ts'
import { debianImage, type LayoutImage } from './debian.ts'
import { goTool } from './tools.ts'

let cluster: Cluster
let image: LayoutImage
let program: string
let directory: string
let first: string
let second: string

before(async () => {
  image = await debianImage()
  program = await goTool('crane')
  directory = await mkdtemp(join(tmpdir(), 'starling-crane-'))
  const started = await Cluster.start(2)
  cluster = started.cluster
  ;[first, second] = started.nodes.map(node => node.addresses.registry) as [string, string]
})

after(async () => {
  await cluster?.close()
  await rm(directory, { recursive: true, force: true })
})

test('crane pushes a layout to one node and reads the same digest from another', async () => {
  await crane('push', image.layout, `${first}/crane/debian:bookworm`)
  assert.equal(await crane('digest', `${second}/crane/debian:bookworm`), image.digest)
})

test('crane validates every layer it pulls from another node', async () => {
  const printed = await crane('validate', '--remote', `${second}/crane/debian:bookworm`)
  assert.match(printed, /PASS/)
})

test('crane appends a layer on one node; the image is whole on the other', async () => {
  await writeFile(join(directory, 'greeting'), 'hello\n')
  await run('tar', ['-czf', 'layer.tar.gz', 'greeting'], { cwd: directory })
  const base = `${second}/crane/debian:bookworm`
  const layer = join(directory, 'layer.tar.gz')
  await crane('append', '--base', base, '-f', layer, '-t', `${second}/crane/debian:greeting`)
  await crane('validate', '--remote', `${first}/crane/debian:greeting`)
  const manifest = JSON.parse(await crane('manifest', `${first}/crane/debian:greeting`))
  assert.equal(manifest.layers.length, image.layers.length + 1)
})

test('crane copies to another repository and tags what is there', async () => {
  await crane('copy', `${first}/crane/debian:bookworm`, `${second}/crane/copy:bookworm`)
  await crane('tag', `${second}/crane/copy:bookworm`, 'stable')
  assert.equal(await crane('digest', `${first}/crane/copy:stable`), image.digest)
})

test('crane pulls an image whose manifest is that which was pushed', async () => {
  const target = join(directory, 'pulled')
  await crane('pull', '--format=oci', `${second}/crane/debian:bookworm`, target)
  assert.equal(
    await crane('push', target, `${first}/crane/again:1`),
    `${first}/crane/again@${image.digest}`
  )
})

test('crane lists tags and repositories on every node', async () => {
  for (const node of [first, second]) {
    assert.equal(await crane('ls', `${node}/crane/debian`), 'bookworm\ngreeting')
    assert.equal(await crane('catalog', node), 'crane/again\ncrane/copy\ncrane/debian')
  }
})

test('crane deletes a tag, and then the image by its digest', async () => {
  await crane('delete', `${first}/crane/copy:stable`)
  assert.equal(await crane('ls', `${second}/crane/copy`), 'bookworm')
  await crane('delete', `${second}/crane/copy@${image.digest}`)
  for (const node of [first, second]) {
    await assert.rejects(crane('digest', `${node}/crane/copy:bookworm`), /MANIFEST_UNKNOWN|404/)
    assert.equal(await crane('catalog', node), 'crane/again\ncrane/debian')
  }
})

function crane(...args: string[]): Promise<string> {
  return run(program, [...args, '--insecure'])
}
