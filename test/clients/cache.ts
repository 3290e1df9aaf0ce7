import { randomUUID } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'

/**
 * Where what takes long to make is kept between runs, outside the repository. Whatever is under a
 * final name here is whole.
 */
export const CACHE_DIR = join(
  process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
  'starling-tools'
)

/**
 * The path of something made once per machine. `make` fills a directory of another name beside it,
 * which gets the final name when it is done, so that a run cut off leaves nothing half made.
 */
export async function madeOnce(
  name: string,
  make: (directory: string) => Promise<void>
): Promise<string> {
  const path = join(CACHE_DIR, name)
  if (existsSync(path)) return path
  const making = `${path}.${randomUUID()}`
  try {
    await mkdir(dirname(making), { recursive: true })
    await mkdir(making)
    await make(making)
    await rename(making, path)
  } catch (error) {
    // Another process that made the same thing meanwhile is as good as this one.
    if (!existsSync(path)) throw error
  } finally {
    await rm(making, { recursive: true, force: true })
  }
  return path
}
