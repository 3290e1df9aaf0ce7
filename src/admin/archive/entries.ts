import { posix } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { extract, type Header } from 'tar-stream'
import { StarlingError, systemCode } from '../../errors.ts'
import { type Compression, compressionOf, decompressor } from './compression.ts'
import { peek } from './peek.ts'

/** Images have tens of files, and a cluster's worth of them thousands: the rest is an attack. */
const MAX_ENTRIES = 100_000

/** The name of a tar file's format, in its first header. */
const USTAR = { at: 257, text: 'ustar' } as const
const HEAD_BYTES = USTAR.at + USTAR.text.length

/** Something in an archive. Names are relative and stay inside; nothing is ever written under them. */
export type ArchiveEntry =
  | {
      readonly kind: 'file'
      readonly name: string
      readonly sizeBytes: number
      /** To be read before the next entry is asked for; what is left of it is passed over. */
      readonly body: Readable
    }
  | { readonly kind: 'link'; readonly name: string; readonly target: string }

/**
 * The files and links of a tar archive one after the other, as its bytes come in: plain, or
 * compressed with gzip or zstd. Directories, devices and the like are left out.
 *
 * @param where what the archive is called in messages
 * @throws `CONFIG_INVALID` when it is no such archive, `DATA_DAMAGED` when it is damaged, ends too
 *   early or has an entry that it must not have, and what reading the bytes throws
 */
export async function* entriesOf(
  bytes: AsyncIterable<Buffer>,
  where: string
): AsyncGenerator<ArchiveEntry, void> {
  const { head, whole } = await peek(bytes, HEAD_BYTES)
  const compression = compressionOf(head)
  if (compression === undefined && !isTar(head)) throw noArchive(where, head)
  const archive = { where, compression }
  const extraction = extract()
  const unpacking = compression === undefined ? [] : [decompressor(compression, where)]
  // The tar reader's streams are of another make, and kept compatible with those of Node.js.
  const sink = extraction as unknown as Writable
  const feeding = pipeline([Readable.from(whole, { objectMode: false }), ...unpacking, sink])
  // It fails with the extraction, whose error is the one that is thrown.
  feeding.catch(() => undefined)
  let count = 0
  try {
    for await (const source of extraction) {
      count += 1
      if (count > MAX_ENTRIES) throw damaged(where, `it has more than ${MAX_ENTRIES} entries`)
      const entry = entryOf(source.header, source as AsyncIterable<Buffer>, archive)
      if (entry !== undefined) yield entry
      source.resume()
    }
    await feeding
  } catch (cause) {
    throw explained(cause, archive, count)
  } finally {
    extraction.destroy()
  }
}

interface Archive {
  readonly where: string
  readonly compression: Compression | undefined
}

function entryOf(
  { type, name, linkname, size }: Header,
  bytes: AsyncIterable<Buffer>,
  archive: Archive
): ArchiveEntry | undefined {
  const { where } = archive
  if (type === 'file' || type === 'contiguous-file') {
    const body = Readable.from(bodyOf(bytes, archive), { objectMode: false })
    return { kind: 'file', name: inside(name, where), sizeBytes: size, body }
  }
  if (type !== 'link' && type !== 'symlink') return undefined
  // A symbolic link is followed from where it lies, a hard one from the root of the archive.
  const isRelative = type === 'symlink' && !posix.isAbsolute(linkname)
  const target = isRelative ? posix.join(posix.dirname(name), linkname) : linkname
  return { kind: 'link', name: inside(name, where), target: inside(target, where) }
}

async function* bodyOf(
  bytes: AsyncIterable<Buffer>,
  archive: Archive
): AsyncGenerator<Buffer, void> {
  try {
    yield* bytes
  } catch (cause) {
    throw explained(cause, archive, 1)
  }
}

/** Names are only ever compared; one that leaves the archive is a sign that it means harm. */
function inside(name: string, where: string): string {
  const normal = posix.normalize(name)
  if (!posix.isAbsolute(normal) && normal !== '..' && !normal.startsWith('../')) return normal
  throw damaged(where, `${JSON.stringify(name)} leads out of it`)
}

function isTar(head: Buffer): boolean {
  return head.subarray(USTAR.at, HEAD_BYTES).toString('latin1') === USTAR.text
}

function noArchive(where: string, head: Buffer): StarlingError {
  const what = head.length === 0 ? 'is empty' : 'is no tar archive, plain or with gzip or zstd'
  return new StarlingError('CONFIG_INVALID', `${where} ${what}`)
}

/** Node.js reads the first frame of a zstd file; some tools write several. */
const FRAMES = ', or, if it is of several frames: zstd -dc FILE | starling import -'

/** The tar reader throws plain errors, the decompressors such with codes of their own. */
function explained(cause: unknown, { where, compression }: Archive, count: number): unknown {
  if (cause instanceof StarlingError) return cause
  if (cause instanceof Error && cause.name === 'AbortError') return cause
  const code = systemCode(cause)
  const also = compression === 'zstd' ? FRAMES : ''
  const reason = code ?? (cause instanceof Error ? cause.message : String(cause))
  if (count === 0 && code === undefined) {
    return new StarlingError('CONFIG_INVALID', `${where} holds no tar archive: ${reason}`, {
      cause
    })
  }
  return damaged(
    where,
    `${reason}; it may have been cut off on its way: copy it again${also}`,
    cause
  )
}

export function damaged(where: string, reason: string, cause?: unknown): StarlingError {
  return new StarlingError('DATA_DAMAGED', `${where} is damaged: ${reason}`, { cause })
}
