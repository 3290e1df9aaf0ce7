import { unwatchFile, watchFile } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { isCode, StarlingError, systemCode } from '../../errors.ts'

/** Polling, because a mounted Kubernetes secret is swapped by symlinks, which no watch follows. */
const WATCH_INTERVAL_MS = 1_000

/** Many times what a file of users, rules or certificates has. */
const MAX_FILE_BYTES = 4 * 1024 * 1024

/**
 * Calls back when one of the files changes, within about a second.
 * @returns how to stop that
 */
export function watchFiles(files: readonly string[], onChange: () => void): () => void {
  const listener = () => onChange()
  for (const file of files) {
    watchFile(file, { interval: WATCH_INTERVAL_MS, persistent: false }, listener)
  }
  return () => {
    for (const file of files) unwatchFile(file, listener)
  }
}

/**
 * A settings file as text; throws `CONFIG_INVALID` when it cannot be read.
 *
 * @param setting which names the file, to be told with what is wrong
 */
export async function readSmallFile(file: string, setting: string): Promise<string> {
  const bytes = await readFile(file).catch((cause: unknown) => {
    const message = `${setting}: cannot read ${file}: ${systemCode(cause) ?? cause}`
    throw new StarlingError('CONFIG_INVALID', message, { cause })
  })
  if (bytes.length <= MAX_FILE_BYTES) return bytes.toString('utf8')
  throw new StarlingError(
    'CONFIG_INVALID',
    `${setting}: ${file} is too large (${bytes.length} bytes)`
  )
}

/** For the log: what an operator wrote is told in words, without the stack of who read it. */
export function problemOf(error: unknown): { problem: string } | { err: unknown } {
  return isCode(error, 'CONFIG_INVALID') ? { problem: error.message } : { err: error }
}
