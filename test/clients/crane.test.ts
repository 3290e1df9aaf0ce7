import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { run } from '../helpers/command.ts'
import { debianImage, type LayoutImage } from './debian.ts'
import { openPair } from './pair.ts'
import { goTool } from './tools.ts'

let image: LayoutImage
let program: string

const pair = openPair('crane', async () => {
  image = await debianImage()
  program = await goTool('crane')
})

test('crane pushes a layout to one node and reads the same digest from another', async () => {
  await crane('push', image.layout, `${pair.first}/crane/debian:bookworm`)
  assert.equal(await crane('digest', `${pair.second}/crane/debian:bookworm`), image.digest)
})

test('crane validates every layer it pulls from another node', async () => {
  const printed = await crane('validate', '--remote', `${pair.second}/crane/debian:bookworm`)
  assert.match(printed, /PASS/)
})

test('crane appends a layer on one node; the image is whole on the other', async () => {
  await writeFile(join(pair.directory, 'greeting'), 'hello\n')
  await run('tar', ['-czf', 'layer.tar.gz', 'greeting'], { cwd: pair.directory })
  const base = `${pair.second}/crane/debian:bookworm`
  const layer = join(pair.directory, 'layer.tar.gz')
  await crane('append', '--base', base, '-f', layer, '-t', `${pair.second}/crane/debian:greeting`)
  await crane('validate', '--remote', `${pair.first}/crane/debian:greeting`)
  const manifest = JSON.parse(await crane('manifest', `${pair.first}/crane/debian:greeting`))
  assert.equal(manifest.layers.length, image.layers.length + 1)
})

test('crane copies to another repository and tags what is there', async () => {
  await crane('copy', `${pair.first}/crane/debian:bookworm`, `${pair.second}/crane/copy:bookworm`)
  await crane('tag', `${pair.second}/crane/copy:bookworm`, 'stable')
  assert.equal(await crane('digest', `${pair.first}/crane/copy:stable`), image.digest)
})

test('crane pulls an image whose manifest is that which was pushed', async () => {
  const target = join(pair.directory, 'pulled')
  await crane('pull', '--format=oci', `${pair.second}/crane/debian:bookworm`, target)
  assert.equal(
    await crane('push', target, `${pair.first}/crane/again:1`),
    `${pair.first}/crane/again@${image.digest}`
  )
})

test('crane lists tags and repositories on every node', async () => {
  for (const node of pair.both) {
    assert.equal(await crane('ls', `${node}/crane/debian`), 'bookworm\ngreeting')
    assert.equal(await crane('catalog', node), 'crane/again\ncrane/copy\ncrane/debian')
  }
})

test('crane deletes a tag, and then the image by its digest', async () => {
  await crane('delete', `${pair.first}/crane/copy:stable`)
  assert.equal(await crane('ls', `${pair.second}/crane/copy`), 'bookworm')
  await crane('delete', `${pair.second}/crane/copy@${image.digest}`)
  for (const node of pair.both) {
    await assert.rejects(crane('digest', `${node}/crane/copy:bookworm`), /MANIFEST_UNKNOWN|404/)
    assert.equal(await crane('catalog', node), 'crane/again\ncrane/debian')
  }
})

function crane(...args: string[]): Promise<string> {
  return run(program, [...args, '--insecure'])
}
