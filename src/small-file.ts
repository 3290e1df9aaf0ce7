import { open, readFile, rename } from 'node:fs/promises'
import { dirname } from 'node:path'
import { syncDirectory } from './directories.ts'
import { systemCode } from './errors.ts'

/** All that is in a file; `undefined` when there is none. Throws what the system says. */
export async function readSmallFile(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
}

/**
 * Puts a file in place of what had its name, all at once and durably: a reader, also after a power
 * cut, finds the old content or the new, never half of it. `mode` is that of a new file. Throws
 * what the system says.
 */
export async function replaceSmallFile(
  path: string,
  content: string | Uint8Array,
  mode: number
): Promise<void> {
  const temporary = `${path}.new`
  {
    await using file = await open(temporary, 'w', mode)
    await file.writeFile(content)
    await file.datasync()
  }
  await rename(temporary, path)
  await syncDirectory(dirname(path))
}
