import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { StarlingError, systemCode } from '../../errors.ts'
import { download } from './download.ts'

/** An archive to be read from front to back. */
export interface ArchiveBytes {
  /** What it is called in messages. */
  readonly where: string
  /** As it lies there, compressed or not; `undefined` when nobody knows before the end. */
  readonly sizeBytes: number | undefined
  readonly bytes: AsyncIterable<Buffer>
}

/** Standard input, which a person may have forgotten to give. */
export type Input = Readable & { readonly isTTY?: boolean }

/**
 * Opens what a user named: a file, `-` for standard input, or an http or https URL.
 *
 * @throws `CONFIG_INVALID` when there is nothing to read, and what {@link download} does
 */
export async function openArchiveBytes(
  path: string,
  input: () => Input,
  signal: AbortSignal
): Promise<ArchiveBytes> {
  if (path === '-') {
    const stdin = input()
    if (stdin.isTTY !== true) return { where: 'standard input', sizeBytes: undefined, bytes: stdin }
    throw new StarlingError('CONFIG_INVALID', 'standard input is a terminal: pipe an archive in')
  }
  const url = /^https?:\/\//.test(path) ? URL.parse(path) : null
  if (url !== null)
    return { where: `${url.origin}${url.pathname}`, ...(await download(url, signal)) }
  const found = await stat(path).catch((cause: unknown) => {
    const reason = systemCode(cause) === 'ENOENT' ? 'is not there' : `cannot be read: ${cause}`
    throw new StarlingError('CONFIG_INVALID', `${path} ${reason}`, { cause })
  })
  const sizeBytes = found.isFile() ? found.size : undefined
  return { where: path, sizeBytes, bytes: createReadStream(path, { highWaterMark: CHUNK_BYTES }) }
}

/** Fewer, larger reads: most of an archive passes straight through to the registry. */
const CHUNK_BYTES = 256 * 1024
