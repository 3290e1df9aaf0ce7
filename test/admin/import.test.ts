/** Archives of all makes, pushed to a registry over memory. */
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { runImport } from '../../src/admin/commands/import.ts'
import { RegistryClient } from '../../src/admin/registry-client.ts'
import { type Digest, digestOf, hexOf } from '../../src/digest.ts'
import { isCode, StarlingError } from '../../src/errors.ts'
import { openRegistry, type Registry } from '../registry/fixture.ts'
import { scratch } from '../store/scratch.ts'
import {
  type ArchivedImage,
  archivedImage,
  dockerEntries,
  type Entry,
  inPieces,
  json,
  layoutEntries,
  link,
  tarOf
} from './archives.ts'
import { Notebook } from './scripted-node.ts'

const MIB = 1024 * 1024

test('an archive of an OCI layout is pushed under its name, packed in any way', async t => {
  const image = archivedImage([5 * MIB, 30])
  const plain = await tarOf(layoutEntries(image, 'team/app:v1'))
  for (const archive of [plain, gzipSync(plain), zstdCompressSync(plain)]) {
    const registry = await openRegistry(t)
    const screen = await importing(registry, archive)
    assert.equal(screen.text, 'team/app:v1 imported, 3 blobs (5.0 MiB) sent\n')
    assertWhole(registry, 'team/app:v1', image)
  }
})

test('what an archive is called does not matter, but what is in it', async t => {
  const registry = await openRegistry(t)
  const image = archivedImage([100])
  const path = join(await scratch(t), 'image.zip')
  await writeFile(path, gzipSync(await tarOf(layoutEntries(image, 'team/app:v1'))))
  await importing(registry, path)
  assertWhole(registry, 'team/app:v1', image)
})

test('the index may come first, last, below a directory, or in a Zarf package', async t => {
  const image = archivedImage([5 * MIB])
  const entries = layoutEntries(image, 'team/app:v1')
  const below = (directory: string) =>
    entries.map(entry =>
      Array.isArray(entry) ? [directory + entry[0], entry[1]] : entry
    ) as Entry[]
  const zarf: Entry[] = [['components/app.tar', 'no layer'], ...below('images/')]
  for (const order of [entries, entries.toReversed(), below('./'), below('app/'), zarf]) {
    const registry = await openRegistry(t)
    await importing(registry, await tarOf(order))
    assertWhole(registry, 'team/app:v1', image)
    assert.equal(registry.content.blobs.size, 2)
  }
})

test('images are in their own repositories, however their blobs came there', async t => {
  const [one, two] = [archivedImage([5 * MIB]), archivedImage([30])]
  const indexes = [layoutEntries(one, 'team/one:v1'), layoutEntries(two, 'team/two:v2')]
  const roots = indexes.map(entries =>
    entries.find(entry => Array.isArray(entry) && entry[0] === 'index.json')
  )
  const manifests = roots.flatMap(
    entry => JSON.parse(String((entry as [string, Buffer])[1])).manifests
  )
  const files = indexes
    .flat()
    .filter(entry => Array.isArray(entry) && entry[0].startsWith('blobs/'))
  const registry = await openRegistry(t)
  await importing(
    registry,
    await tarOf([...files, ['index.json', json({ schemaVersion: 2, manifests })]])
  )
  assertWhole(registry, 'team/one:v1', one)
  assertWhole(registry, 'team/two:v2', two)
  const all = { limit: 10 }
  assert.deepEqual(await registry.content.repositories(all), ['team/one', 'team/two'])
})

test('an archive of docker save becomes an image of the same layers', async t => {
  const image = archivedImage([5 * MIB, 30])
  const registry = await openRegistry(t)
  const screen = await importing(
    registry,
    await tarOf(dockerEntries(image, ['team/app:v1', 'team/app:v2']))
  )
  assert.match(screen.text, /^team\/app:v1 imported.*\nteam\/app:v2 imported.*\n$/)
  assertWhole(registry, 'team/app:v1', image)
  assertWhole(registry, 'team/app:v2', image)
})

test('layers of old archives lie in directories, are links to each other, or are compressed', async t => {
  const image = archivedImage([1_000, 30])
  const [first, second] = image.layers as [Buffer, Buffer]
  const config = json({
    rootfs: { diff_ids: [first, second, first].map(layer => digestOf(layer)) }
  })
  const list = [
    { Config: 'c.json', RepoTags: null, Layers: ['a/layer.tar', 'b/layer.tar', 'c/layer.tar'] }
  ]
  const registry = await openRegistry(t)
  await importing(
    registry,
    await tarOf([
      ['manifest.json', json(list)],
      link('c/layer.tar', '../a/layer.tar'),
      ['a/layer.tar', first],
      ['a/VERSION', '1.0'],
      ['b/layer.tar', gzipSync(second)],
      ['c.json', config]
    ]),
    'team/old:v1'
  )
  const { layers } = manifestAt(registry, 'team/old:v1')
  const plain = {
    mediaType: 'application/vnd.oci.image.layer.v1.tar',
    digest: digestOf(first),
    size: 1_000
  }
  assert.deepEqual([layers[0], layers[2]], [plain, plain])
  assert.equal(layers[1]?.mediaType, 'application/vnd.oci.image.layer.v1.tar+gzip')
  assert.deepEqual(registry.content.blobs.get(layers[1]?.digest as Digest), gzipSync(second))
})

test('where docker wrote an OCI layout too, that is what counts', async t => {
  const image = archivedImage([300])
  const blob = (bytes: Buffer) => `blobs/sha256/${hexOf(digestOf(bytes))}`
  const list = [
    { Config: blob(image.config), RepoTags: ['team/app:v1'], Layers: image.layers.map(blob) }
  ]
  const entries: Entry[] = [['manifest.json', json(list)], ...layoutEntries(image, 'team/app:v1')]
  const registry = await openRegistry(t)
  await importing(registry, await tarOf(entries))
  assert.equal(manifestDigest(registry, 'team/app:v1'), image.digest)
  // And its list alone will do.
  const listOnly = entries.filter(entry => Array.isArray(entry) && entry[0] !== 'index.json')
  const other = await openRegistry(t)
  await importing(other, await tarOf(listOnly))
  assertWhole(other, 'team/app:v1', image)
})

test('what the registry has is read past, and not sent again', async t => {
  const image = archivedImage([5 * MIB, 30])
  for (const entries of [
    layoutEntries(image, 'team/app:v1'),
    dockerEntries(image, ['team/app:v1'])
  ]) {
    const registry = await openRegistry(t)
    const archive = await tarOf(entries)
    await importing(registry, archive)
    registry.content.store = async () => assert.fail('sent again')
    const screen = await importing(registry, archive, 'team/again:v1')
    assert.equal(screen.text, 'team/again:v1 imported, 0 blobs (0 B) sent\n')
  }
})

test('an image without a name needs one, and nothing is pulled from a keyboard', async t => {
  const registry = await openRegistry(t)
  const nameless = importing(registry, await tarOf(layoutEntries(archivedImage([10]))))
  await assert.rejects(nameless, /1 of 1 images have no name: give one with --as/)
  const keyboard = Object.assign(Readable.from([]), { isTTY: true })
  await assert.rejects(importing(registry, keyboard), /is a terminal/)
})

test('an archive is read from a URL, and where that breaks off nothing of it is there', async t => {
  const registry = await openRegistry(t)
  const archive = await tarOf(layoutEntries(archivedImage([5 * MIB]), 'team/app:v1'))
  let sentBytes = archive.length / 2
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': archive.length })
    response.write(archive.subarray(0, sentBytes), () => response.destroy())
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/app.tar`
  await assert.rejects(importing(registry, url), error => {
    assert.ok(isCode(error, 'PEER_FAILED'))
    assert.match(error.message, /app\.tar cannot be read: broke off .*; run the command again/)
    return true
  })
  assert.equal(registry.content.tagged.size, 0)
  sentBytes = archive.length
  const screen = await importing(registry, url)
  assert.match(screen.text, /^team\/app:v1 imported/)
})

test('a person sees how far it is, and a script an object for each image', async t => {
  const registry = await openRegistry(t)
  const path = join(await scratch(t), 'image.tar')
  await writeFile(path, await tarOf(layoutEntries(archivedImage([MIB]), 'team/app:v1')))
  const terminal = await importing(registry, path, undefined, { isTTY: true })
  const [before, ...drawn] = terminal.text.split('\r\x1b[K')
  assert.equal(before, '')
  assert.match(drawn[0] ?? '', /image\.tar: .* of 1\.0 MiB$/)
  assert.match(drawn.at(-1) ?? '', /^team\/app:v1 imported/)
  const script = await importing(registry, path, undefined, { isTTY: true, json: true })
  const { reference, sent, warnings } = JSON.parse(script.text)
  assert.deepEqual([reference, sent, warnings], ['team/app:v1', { blobs: 0, bytes: 0 }, []])
})

test('who may not push just anywhere is told to say where', async t => {
  const registry = await openRegistry(t)
  const { content } = registry
  const createUpload = content.createUpload.bind(content)
  content.createUpload = async (repository, options) => {
    if (repository === 'team/app') return createUpload(repository, options)
    throw new StarlingError('DENIED', `${repository} is not yours`)
  }
  const archive = await tarOf(layoutEntries(archivedImage([5 * MIB]), 'team/app:v1'))
  await assert.rejects(importing(registry, archive), /is not yours; say with --as to which/)
  await importing(registry, archive, 'team/app:v1')
})

/** Imports a file, or bytes as they would come through a pipe. */
async function importing(
  registry: Registry,
  from: string | Buffer | Readable,
  as?: string,
  { isTTY = false, json = false } = {}
): Promise<Notebook> {
  const screen = new Notebook(isTTY)
  const input = Buffer.isBuffer(from) ? Readable.from(inPieces(from)) : from
  const code = await runImport({
    registry: RegistryClient.ofUrl(new URL(registry.url)),
    ...{ screen, as, json, signal: new AbortController().signal },
    path: typeof from === 'string' ? from : '-',
    input: () => (typeof input === 'string' ? assert.fail('not to be read') : input)
  })
  assert.equal(code, 0)
  return screen
}

function assertWhole({ content }: Registry, name: string, image: ArchivedImage): void {
  const { config, layers } = manifestAt({ content } as Registry, name)
  assert.deepEqual(content.blobs.get(config.digest), image.config)
  const held = layers.map(({ digest }) => content.blobs.get(digest))
  assert.deepEqual(held, image.layers)
}

interface Descriptor {
  readonly mediaType: string
  readonly digest: Digest
  readonly size: number
}

function manifestAt(registry: Registry, name: string) {
  const digest = manifestDigest(registry, name)
  const repository = name.slice(0, name.indexOf(':'))
  const manifest = registry.content.manifests.get(`${repository}@${digest}`)
  return JSON.parse(String(manifest?.bytes)) as { config: Descriptor; layers: Descriptor[] }
}

function manifestDigest({ content }: Registry, name: string): Digest | undefined {
  return content.tagged.get(name)
}
