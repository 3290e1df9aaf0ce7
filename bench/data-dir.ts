import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { StarlingError } from '../src/errors.ts'

/** A new directory for the data of one bench, and what it lies on. */
export interface DataDir extends AsyncDisposable {
  readonly path: string
  /** `tmpfs`, or the directory that was asked for. */
  readonly medium: string
}

/**
 * Makes a directory that goes with the bench: in memory, unless another place is asked for, since
 * most questions are not about the disk. Throws `CONFIG_INVALID` where there is no such memory.
 */
export async function makeDataDir(parent: string | undefined): Promise<DataDir> {
  const path = await mkdtemp(join(parent ?? (await memoryDir()), 'starling-bench-'))
  return {
    path,
    medium: path.startsWith('/dev/shm') ? 'tmpfs' : path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true })
  }
}

async function memoryDir(): Promise<string> {
  const memory = await stat('/dev/shm').catch(() => undefined)
  if (memory !== undefined) return '/dev/shm'
  if (process.platform !== 'linux') return tmpdir()
  throw new StarlingError('CONFIG_INVALID', 'there is no /dev/shm: name a directory with --data')
}
