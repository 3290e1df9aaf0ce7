/** Images written into archives, from a registry over memory. */
import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { extract } from 'tar-stream'
import { runExport } from '../../src/admin/commands/export.ts'
import { runImport } from '../../src/admin/commands/import.ts'
import { RegistryClient } from '../../src/admin/registry-client.ts'
import { digestOf, hexOf } from '../../src/digest.ts'
import { isCode } from '../../src/errors.ts'
import { openRegistry, type Registry } from '../registry/fixture.ts'
import { scratch } from '../store/scratch.ts'
import { archivedImage, layoutEntries, tarOf } from './archives.ts'
import { Notebook } from './scripted-node.ts'

const MIB = 1024 * 1024
const { signal } = new AbortController()

test('an image is written as an archive of an OCI layout, the same each time, and imported again', async t => {
  const { registry, image, directory } = await open(t)
  const path = join(directory, 'app.tar')
  const { notes, screen } = await exporting(registry, path)
  assert.equal(screen.text, `team/app:v1 is in ${path}, 4 blobs (3.0 MiB)\n`)
  assert.equal(notes.text, '')
  const archive = await readFile(path)
  const blobs = [image.manifest, image.config, ...image.layers]
  const names = blobs.map(bytes => `blobs/sha256/${hexOf(digestOf(bytes))}`)
  assert.deepEqual(await namesIn(archive), ['oci-layout', 'index.json', ...names])
  const piped = await exporting(registry, '-')
  assert.deepEqual(piped.output, archive)
  assert.match(piped.notes.text, /^team\/app:v1 has been written to standard output, 4 blobs/)
  assert.equal(piped.screen.text, '')

  const other = await openRegistry(t)
  await importing(other, path)
  assert.equal(other.content.tagged.get('team/app:v1'), image.digest)
  assert.deepEqual(other.content.blobs, registry.content.blobs)
})

test('what fails on its way leaves no file, and none is written over', async t => {
  const { registry, image, directory } = await open(t)
  const path = join(directory, 'app.tar')
  const layer = image.layers[0] as Buffer
  for (const rotten of [Buffer.alloc(layer.length), layer.subarray(1), Buffer.alloc(4 * MIB)]) {
    registry.content.blobs.set(digestOf(layer), rotten)
    await assert.rejects(exporting(registry, path), error => isCode(error, 'DIGEST_INVALID'))
    assert.deepEqual(await readdir(directory), [])
  }
  registry.content.blobs.set(digestOf(layer), layer)
  await writeFile(path, 'mine')
  await assert.rejects(exporting(registry, path), /is there already/)
  assert.equal(await readFile(path, 'utf8'), 'mine')
})

test('an archive goes to no terminal, under no name that says it is compressed, and to no full disk', async t => {
  const { registry, directory } = await open(t)
  await assert.rejects(exporting(registry, '-', { isTTY: true }), /is a terminal/)
  await assert.rejects(exporting(registry, join(directory, 'app.tar.gz')), /written plain; .*gzip/)
  const nowhere = join(directory, 'none', 'app.tar')
  await assert.rejects(
    exporting(registry, nowhere),
    /app\.tar cannot be written: ENOENT, its directory is missing/
  )
  await assert.rejects(exporting(registry, '-', { full: true }), /cannot be written: ENOSPC/)
})

async function open(t: TestContext) {
  const registry = await openRegistry(t)
  const image = archivedImage([2 * MIB, MIB])
  const directory = await scratch(t)
  const path = join(await scratch(t), 'made.tar')
  await writeFile(path, await tarOf(layoutEntries(image, 'team/app:v1')))
  await importing(registry, path)
  return { registry, image, directory }
}

async function exporting(registry: Registry, path: string, { isTTY = false, full = false } = {}) {
  const [screen, notes] = [new Notebook(), new Notebook()]
  const chunks: Buffer[] = []
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk)
      done(full ? Object.assign(new Error('disk'), { code: 'ENOSPC' }) : null)
    }
  })
  await runExport({
    registry: RegistryClient.ofUrl(new URL(registry.url)),
    reference: { kind: 'tag', repository: 'team/app', tag: 'v1' },
    output: Object.assign(output, { isTTY }),
    ...{ screen, notes, path, json: false, signal }
  })
  return { screen, notes, output: Buffer.concat(chunks) }
}

async function importing(registry: Registry, path: string): Promise<void> {
  await runImport({
    registry: RegistryClient.ofUrl(new URL(registry.url)),
    ...{ screen: new Notebook(), path, json: false, signal },
    input: () => assert.fail('not to be read')
  })
}

async function namesIn(archive: Buffer): Promise<string[]> {
  const names: string[] = []
  const reading = extract()
  reading.end(archive)
  for await (const entry of reading) {
    names.push(entry.header.name)
    entry.resume()
  }
  return names
}
