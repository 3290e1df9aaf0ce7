import { createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { pack } from 'tar-stream'
import { algorithmOf, type Digest, hexOf } from '../../digest.ts'
import { StarlingError, systemCode } from '../../errors.ts'
import type { ImageSink } from '../image-sink.ts'
import type { LayoutImage } from '../image-source.ts'
import { formatIndex, LAYOUT_MARKER } from '../layout-index.ts'
import { verified } from '../verified.ts'

/**
 * A tar archive of an OCI image layout in a file, which has its name when it is whole.
 *
 * @throws `CONFIG_INVALID` when there is such a file already, or it cannot be written
 */
export async function createArchive(
  path: string,
  images: readonly LayoutImage[]
): Promise<ImageSink> {
  if ((await stat(path).catch(() => undefined)) !== undefined) {
    throw new StarlingError('CONFIG_INVALID', `${path} is there already`)
  }
  const unfinished = `${path}.new`
  const sink = writeArchive(createWriteStream(unfinished), images, path)
  return {
    ...sink,
    finish: async () => {
      await sink.finish()
      await rename(unfinished, path)
    },
    abandon: async () => {
      await sink.abandon()
      await rm(unfinished, { force: true })
    }
  }
}

/**
 * The same, to whatever takes bytes. The index comes first, so that who reads the archive as it
 * comes knows what it is of; times and owners are those of nobody, so that two archives of an image
 * are the same.
 *
 * @param where what the output is called in messages
 */
export function writeArchive(
  output: Writable,
  images: readonly LayoutImage[],
  where: string
): ImageSink {
  const archive = pack()
  const written = new Set<Digest>()
  // The tar writer's streams are of another make, and kept compatible with those of Node.js.
  const flowing = pipeline(archive as unknown as Readable, output).catch((cause: unknown) => {
    if (cause instanceof StarlingError) throw cause
    const code = systemCode(cause)
    const reason = code === 'ENOENT' ? `${code}, its directory is missing` : (code ?? cause)
    throw new StarlingError('CONFIG_INVALID', `${where} cannot be written: ${reason}`, { cause })
  })
  // Whoever writes next, or ends it, is told.
  flowing.catch(() => undefined)
  const add = async (name: string, sizeBytes: number, bytes: AsyncIterable<Buffer>) => {
    try {
      const entry = archive.entry({ name, size: sizeBytes, mtime: new Date(0) })
      await pipeline(bytes, entry as unknown as Writable)
    } catch (cause) {
      archive.destroy(cause instanceof Error ? cause : undefined)
      // When it is the output that failed, its error is the one to throw.
      await flowing
      throw cause
    }
  }
  const addText = (name: string, text: string) => {
    const bytes = Buffer.from(text)
    return add(name, bytes.length, Readable.from([bytes]))
  }
  const begun = addText(LAYOUT_MARKER.name, LAYOUT_MARKER.text).then(() =>
    addText('index.json', formatIndex(images))
  )
  begun.catch(() => undefined)
  return {
    has: digest => written.has(digest),
    write: async (digest, sizeBytes, bytes) => {
      await begun
      written.add(digest)
      const exact = ofSize(digest, sizeBytes, verified(digest, bytes))
      await add(`blobs/${algorithmOf(digest)}/${hexOf(digest)}`, sizeBytes, exact)
    },
    finish: async () => {
      await begun
      archive.finalize()
      await flowing
    },
    abandon: async () => {
      archive.destroy()
      await flowing.catch(() => undefined)
    }
  }
}

/** A tar header says the size before the bytes are there. */
async function* ofSize(
  digest: Digest,
  sizeBytes: number,
  bytes: AsyncIterable<Buffer>
): AsyncGenerator<Buffer, void> {
  let left = sizeBytes
  for await (const chunk of bytes) {
    left -= chunk.length
    if (left < 0) break
    yield chunk
  }
  if (left === 0) return
  throw new StarlingError('DIGEST_INVALID', `${digest} is not of ${sizeBytes} bytes`)
}
