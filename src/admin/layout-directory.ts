import { createReadStream, createWriteStream } from 'node:fs'
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { algorithmOf, type Digest, hexOf } from '../digest.ts'
import { makeDirectories } from '../directories.ts'
import { StarlingError, systemCode } from '../errors.ts'
import { MAX_MANIFEST_BYTES } from '../manifest.ts'
import type { ImageSink } from './image-sink.ts'
import type { ImageSource, LayoutImage } from './image-source.ts'
import { formatIndex, LAYOUT_MARKER, parseIndex } from './layout-index.ts'
import { verified } from './verified.ts'

/**
 * The images of a directory, each blob in a file of its own.
 *
 * @param watch is given what is sent of a blob, to be passed on
 * @throws `CONFIG_INVALID` when it is no OCI image layout, `MANIFEST_INVALID` when its index cannot
 *   be read
 * @see OCI image-spec, "Image Layout Specification"
 */
export async function openLayout(
  directory: string,
  watch: (bytes: Readable) => AsyncIterable<Buffer> = bytes => bytes
): Promise<ImageSource> {
  if (!(await isFile(join(directory, LAYOUT_MARKER.name)))) {
    throw new StarlingError('CONFIG_INVALID', `${directory} is no OCI image layout directory`)
  }
  const path = join(directory, 'index.json')
  const text = await readFile(path, 'utf8').catch(() => '')
  return {
    where: directory,
    images: parseIndex(text, path),
    manifest: async digest => {
      const sizeBytes = await sizeOf(pathOf(directory, digest))
      if (sizeBytes === undefined) return undefined
      if (sizeBytes <= MAX_MANIFEST_BYTES) return readFile(pathOf(directory, digest))
      throw new StarlingError('MANIFEST_INVALID', `${digest} is too long for a manifest`)
    },
    give: async (digest, to) => {
      if (await to.hasBlob(digest)) return 0
      const path = pathOf(directory, digest)
      const sizeBytes = await sizeOf(path)
      if (sizeBytes === undefined) return undefined
      const open = () => Readable.from(watch(createReadStream(path)), { objectMode: false })
      return to.pushBlob(digest, sizeBytes, open)
    }
  }
}

/**
 * A new layout in a directory that is empty or not there yet, for these images.
 *
 * @throws `CONFIG_INVALID` when it is not empty, or cannot be written
 */
export async function createLayout(
  directory: string,
  images: readonly LayoutImage[]
): Promise<ImageSink> {
  await makeEmpty(directory)
  const written = new Set<Digest>()
  return {
    has: digest => written.has(digest),
    write: async (digest, _sizeBytes, bytes) => {
      const path = pathOf(directory, digest)
      await makeDirectories(dirname(path))
      await pipeline(verified(digest, bytes), createWriteStream(`${path}.new`))
      await rename(`${path}.new`, path)
      written.add(digest)
    },
    // What makes it a layout comes last, so that what broke off before is none.
    finish: async () => {
      await writeFile(join(directory, 'index.json'), formatIndex(images))
      await writeFile(join(directory, LAYOUT_MARKER.name), LAYOUT_MARKER.text)
    },
    abandon: async () => {}
  }
}

async function makeEmpty(directory: string): Promise<void> {
  const unwritable = (cause: unknown) => {
    const reason = systemCode(cause) ?? cause
    throw new StarlingError('CONFIG_INVALID', `${directory} cannot be written: ${reason}`, {
      cause
    })
  }
  const there = await readdir(directory).catch((error: unknown) =>
    systemCode(error) === 'ENOENT' ? [] : unwritable(error)
  )
  if (there.length > 0) {
    throw new StarlingError('CONFIG_INVALID', `${directory} is there already, and not empty`)
  }
  await makeDirectories(directory).catch(unwritable)
}

function pathOf(directory: string, digest: Digest): string {
  return join(directory, 'blobs', algorithmOf(digest), hexOf(digest))
}

async function isFile(path: string): Promise<boolean> {
  return (await sizeOf(path)) !== undefined
}

async function sizeOf(path: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined)
  return found?.isFile() ? found.size : undefined
}
