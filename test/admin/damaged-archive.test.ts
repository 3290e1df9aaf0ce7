/** Archives that are cut off, damaged, something else, or made to do harm. */
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { takeIn } from '../../src/admin/archive/intake.ts'
import { RegistryClient } from '../../src/admin/registry-client.ts'
import { digestOf, hexOf } from '../../src/digest.ts'
import { type ErrorCode, isCode } from '../../src/errors.ts'
import { openRegistry } from '../registry/fixture.ts'
import {
  archivedImage,
  blobEntry,
  dockerEntries,
  type Entry,
  inPieces,
  json,
  layoutEntries,
  link,
  tarOf
} from './archives.ts'

const MIB = 1024 * 1024
const image = archivedImage([5 * MIB, 30])
const layout = layoutEntries(image, 'team/app:v1')

test('an archive that was cut off anywhere is refused, packed or not, and said to be', async t => {
  const plain = await tarOf(layout)
  for (const archive of [plain, gzipSync(plain), zstdCompressSync(plain)]) {
    for (const share of [0.1, 0.5, 0.9]) {
      const cut = archive.subarray(0, archive.length * share)
      await refused(t, cut, 'DATA_DAMAGED', /^the archive is damaged: .*copy it again/)
    }
  }
})

test('what is no archive is told from one that is damaged', async t => {
  const others: readonly (readonly [Buffer, RegExp])[] = [
    [Buffer.alloc(0), /^the archive is empty$/],
    [Buffer.alloc(2_000, 'text'), /is no tar archive, plain or with gzip or zstd/],
    [gzipSync(Buffer.alloc(2_000, 'text')), /holds no tar archive/],
    [Buffer.from('fd377a585a000000', 'hex'), /is compressed with xz: .* xz -dc FILE \| starling/],
    [await tarOf([['README', 'nothing']]), /neither an index\.json .* nor a manifest\.json/]
  ]
  for (const [bytes, words] of others) await refused(t, bytes, 'CONFIG_INVALID', words)
})

test('a zstd file of several frames, which Node.js does not read, is refused with a way to read it', async t => {
  const plain = await tarOf(layout)
  const parts = [plain.subarray(0, 300_000), plain.subarray(300_000)]
  const frames = Buffer.concat(parts.map(part => zstdCompressSync(part)))
  await refused(t, frames, 'DATA_DAMAGED', /zstd -dc FILE \| starling import -/)
})

test('a flipped bit in a layer or a manifest is found, and the image is not there', async t => {
  for (const flipped of [image.layers[0], image.manifest] as Buffer[]) {
    const entries = layout.map((entry): Entry => {
      if (!Array.isArray(entry) || entry[1] !== flipped) return entry
      const other = Buffer.from(flipped)
      other[10] = (other[10] ?? 0) ^ 1
      return [entry[0], other]
    })
    const { tagged } = await refused(t, await tarOf(entries), 'DATA_DAMAGED', /sha256:/)
    assert.equal(tagged.size, 0)
  }
})

test('names that lead out of the archive are refused, though nothing is written under them', async t => {
  const hostile: readonly Entry[] = [
    ['../../etc/passwd', 'x'],
    ['/etc/passwd', 'x'],
    ['blobs/../../x', 'x'],
    link('layer.tar', '../../../etc/shadow'),
    link('layer.tar', '/etc/shadow'),
    { name: 'layer.tar', linkname: '../x', type: 'link' }
  ]
  for (const entry of hostile) {
    await refused(t, await tarOf([entry, ...layout]), 'DATA_DAMAGED', /leads out of it/)
  }
})

test('devices, directories and other files are passed over', async t => {
  const others: readonly Entry[] = [
    { name: 'null', type: 'character-device', devmajor: 1, devminor: 3 },
    { name: 'pipe', type: 'fifo' },
    { name: 'blobs', type: 'directory' },
    ['README.md', 'text']
  ]
  const { images } = await taking(t, await tarOf([...others, ...layout])).taken
  assert.equal(images[0]?.digest, image.digest)
})

test('a list that is there twice is refused; a blob that is, is passed over', async t => {
  const again = layout.filter(entry => Array.isArray(entry) && entry[0].startsWith('blobs/'))
  await taking(t, await tarOf([...layout, ...again])).taken
  const index: Entry = ['index.json', json({ schemaVersion: 2, manifests: [] })]
  await refused(t, await tarOf([...layout, index]), 'DATA_DAMAGED', /index\.json is in it twice/)
})

test('a header of gigabytes is not read into memory', async t => {
  const header = (await tarOf([['x', Buffer.alloc(600)]])).subarray(0, 512)
  header.write('77777777777', 124)
  header.write('x', 156)
  header.fill(' ', 148, 156)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  await refused(t, Buffer.concat([header, Buffer.alloc(MIB)]), undefined, /exceeds max size/)
})

test('more manifests than any cluster has are refused before they fill the memory', async t => {
  const padding = 'x'.repeat(3 * MIB)
  const manifests = Array.from({ length: 22 }, (_, index) =>
    blobEntry(json({ schemaVersion: 2, index, padding }))
  )
  await refused(t, await tarOf(manifests), 'MANIFEST_INVALID', /more than .* bytes of manifests/)
})

test('a docker archive whose layers are not those of its config, or not there, is refused', async t => {
  const entries = dockerEntries(image, ['team/app:v1'])
  const lacking = entries.filter(entry => !Array.isArray(entry) || entry[1] !== image.layers[1])
  await refused(t, await tarOf(lacking), 'DATA_DAMAGED', /the layer .* is not in it/)
  const swapped = entries.map((entry): Entry => {
    if (!Array.isArray(entry) || entry[1] !== image.layers[1]) return entry
    return [entry[0], 'another layer']
  })
  await refused(t, await tarOf(swapped), 'DATA_DAMAGED', /a layer is sha256:.*should be sha256:/)
  const name = `${hexOf(digestOf(image.layers[1] as Buffer))}.tar`
  const circle = [...lacking, link(name, 'a'), link('a', name)]
  await refused(t, await tarOf(circle), 'DATA_DAMAGED', /is a link to a link/)
})

async function refused(t: TestContext, bytes: Buffer, code: ErrorCode | undefined, words: RegExp) {
  const { taken, content } = taking(t, bytes)
  await assert.rejects(taken, error => {
    assert.ok(error instanceof Error)
    assert.match(error.message, words)
    return code === undefined || isCode(error, code)
  })
  return (await content).content
}

function taking(t: TestContext, bytes: Buffer) {
  const content = openRegistry(t)
  const taken = content.then(({ url }) =>
    takeIn(Readable.from(inPieces(bytes)), {
      registry: RegistryClient.ofUrl(new URL(url)),
      where: 'the archive',
      as: undefined,
      signal: new AbortController().signal
    })
  )
  return { taken, content }
}
