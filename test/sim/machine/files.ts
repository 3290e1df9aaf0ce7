import type { Disk } from './disk.ts'
import { activeWorld } from './world.ts'

/**
 * What stands in for `node:fs/promises`. The journal changes its files through its own port, and
 * comes here only to read them.
 */

export async function readFile(path: string, encoding?: 'utf8'): Promise<Buffer | string> {
  const bytes = diskNow().read(path)
  return encoding === undefined ? bytes : bytes.toString(encoding)
}

export async function writeFile(path: string, text: string): Promise<void> {
  await diskNow().write(path, Buffer.from(text))
}

export async function appendFile(path: string, text: string): Promise<void> {
  await diskNow().append(path, Buffer.from(text))
}

/** A disk that is full has no block free, and else all are. */
export async function statfs(): Promise<Record<'blocks' | 'bavail' | 'bfree' | 'bsize', number>> {
  const free = diskNow().faults.refuses === 'ENOSPC' ? 0 : BLOCKS
  return { blocks: BLOCKS, bavail: free, bfree: free, bsize: 4_096 }
}

const BLOCKS = 1_000_000

export async function readdir(path: string): Promise<string[]> {
  return diskNow().names(path)
}

/** Every directory is there, for files here have names of their own. */
export async function stat(): Promise<{ isDirectory(): boolean }> {
  return { isDirectory: () => true }
}

export async function mkdir(): Promise<void> {}

/** Only ever an index that is made anew. */
export async function rm(path: string): Promise<void> {
  diskNow().levels.delete(path)
}

export async function open(): Promise<never> {
  throw new Error('the journal writes through its port')
}

export const rename = open
export const unlink = open

function diskNow(): Disk {
  const disk = activeWorld()?.host?.disk
  if (disk === undefined) throw new Error('a file is read on no machine')
  return disk
}
