import { constants } from 'node:fs'
import { access } from 'node:fs/promises'
import { join } from 'node:path'
import { makeDirectories } from './directories.ts'
import { StarlingError, systemCode } from './errors.ts'
import { replaceSmallFile } from './small-file.ts'

/** Where a running node is reached, as `DATA/listening.json` has it. */
export interface Listening {
  readonly registry: string
  readonly admin: string
  readonly mesh: string
  readonly transfer: string
}

/**
 * Makes the data directory, for this user alone, and those above it that are not there yet. Throws
 * `CONFIG_INVALID` when it cannot be used.
 */
export async function makeDataDir(dataDir: string): Promise<void> {
  try {
    await makeDirectories(dataDir, 0o700)
    await access(dataDir, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    const message = `--data: ${dataDir} cannot be used as a directory: ${systemCode(cause) ?? cause}`
    throw new StarlingError('CONFIG_INVALID', message, { cause })
  }
}

/** Tells where the node is reached, all at once: nobody reads half of it. */
export async function writeListening(dataDir: string, listening: Listening): Promise<void> {
  const path = join(dataDir, 'listening.json')
  await replaceSmallFile(path, `${JSON.stringify(listening)}\n`, 0o644)
}
