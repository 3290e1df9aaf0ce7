import { Readable } from 'node:stream'
import { test } from 'node:test'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import fc from 'fast-check'
import { takeIn } from '../../src/admin/archive/intake.ts'
import { RegistryClient } from '../../src/admin/registry-client.ts'
import { StarlingError } from '../../src/errors.ts'
import {
  archivedImage,
  dockerEntries,
  type Entry,
  json,
  layoutEntries,
  tarOf
} from '../admin/archives.ts'
import { openRegistry } from '../registry/fixture.ts'

const RUNS = 300

const image = archivedImage([3_000, 30])
const plain = [
  await tarOf(layoutEntries(image, 'team/app:v1')),
  await tarOf(dockerEntries(image, ['team/app:v1']))
]
const archives = plain.flatMap(bytes => [bytes, gzipSync(bytes), zstdCompressSync(bytes)])

test('an archive with other bytes here and there, or cut off, is taken or refused in our words', async t => {
  const take = await opener(t)
  const change = fc.record({ at: fc.nat({ max: 8_191 }), byte: fc.nat({ max: 255 }) })
  const changes = fc.array(change, { minLength: 1, maxLength: 4 })
  const share = fc.oneof(fc.constant(1), fc.double({ min: 0, max: 1, noNaN: true }))
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...archives),
      changes,
      share,
      async (sound, changes, share) => {
        const bytes = Buffer.from(sound.subarray(0, sound.length * share))
        for (const { at, byte } of changes) bytes[at % Math.max(bytes.length, 1)] = byte
        await take(bytes)
      }
    ),
    { numRuns: RUNS }
  )
})

test('whatever a list of images says, it is taken or refused in our words', async t => {
  const take = await opener(t)
  const odd = fc.oneof(
    fc.constantFrom<unknown>(null, 1, '', '../x', 'c.json', [null], {}),
    fc.jsonValue()
  )
  const item = fc.oneof(odd, fc.record({ Config: odd, Layers: odd, RepoTags: odd }))
  const list = fc.oneof(odd, fc.array(item, { maxLength: 3 }))
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom('index.json', 'manifest.json'),
      list,
      odd,
      async (name, list, config) => {
        const entries: Entry[] = [
          ['c.json', json(config)],
          [name, json(name === 'index.json' ? { manifests: list } : list)]
        ]
        await take(await tarOf(entries))
      }
    ),
    { numRuns: RUNS }
  )
})

async function opener(t: Parameters<typeof openRegistry>[0]) {
  const { url } = await openRegistry(t)
  const registry = RegistryClient.ofUrl(new URL(url))
  const { signal } = new AbortController()
  return async (bytes: Buffer) => {
    try {
      await takeIn(Readable.from([bytes]), { registry, where: 'it', as: undefined, signal })
    } catch (error) {
      if (!(error instanceof StarlingError)) throw error
    }
  }
}
