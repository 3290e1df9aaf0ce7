import { mkdir, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a directory, and those above it that are not there yet. Throws what the system says.
 *
 * Not `mkdir` with `recursive`: below a directory that takes none, such as `/proc`, Node 24 makes
 * the parent, which is there, and tries again for ever.
 */
export async function makeDirectories(path: string, mode?: number): Promise<void> {
  if (await isDirectory(path)) return
  if (dirname(path) !== path) await makeDirectories(dirname(path), mode)
  await mkdir(path, { ...(mode !== undefined && { mode }) }).catch(async (error: unknown) => {
    // Another process may have been quicker.
    if (!(await isDirectory(path))) throw error
  })
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isDirectory(),
    () => false
  )
}
