import { mkdir, open, stat } from 'node:fs/promises'
import { dirname } from 'node:path'

/**
 * Makes a directory, and those above it that are not there yet, each under a name that outlives a
 * power cut: what is synced in a directory is lost all the same with the directory's own name.
 * Throws what the system says.
 *
 * Not `mkdir` with `recursive`: below a directory that takes none, such as `/proc`, Node 24 makes
 * the parent, which is there, and tries again for ever.
 */
export async function makeDirectories(path: string, mode?: number): Promise<void> {
  if (await isDirectory(path)) return
  const parent = dirname(path)
  if (parent !== path) await makeDirectories(parent, mode)
  await mkdir(path, { ...(mode !== undefined && { mode }) }).catch(async (error: unknown) => {
    // Another process may have been quicker.
    if (!(await isDirectory(path))) throw error
  })
  await syncDirectory(parent)
}

/** Makes the names in a directory durable: those made, renamed and removed there so far. */
export async function syncDirectory(path: string): Promise<void> {
  await using directory = await open(path, 'r')
  await directory.sync()
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isDirectory(),
    () => false
  )
}
