import { mkdtemp, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { StarlingError } from '../src/errors.ts'
import { ownPrefix, removeOfKilled } from './leftovers.ts'

/** A new directory for the data of one bench, and what it lies on. */
export interface DataDir extends AsyncDisposable {
  readonly path: string
  /** `tmpfs`, or the directory that was asked for. */
  readonly medium: string
}

/**
 * Makes a directory that goes with the bench: in memory, unless another place is asked for, since
 * most questions are not about the disk. What killed benches left there goes first. Throws
 * `CONFIG_INVALID` where there is no such memory.
 */
export async function makeDataDir(asked: string | undefined): Promise<DataDir> {
  const parent = asked === undefined ? await memoryDir() : resolve(asked)
  await removeOfKilled(parent)
  const path = await mkdtemp(join(parent, ownPrefix()))
  return {
    path,
    medium: parent === MEMORY ? 'tmpfs' : parent,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true })
  }
}

const MEMORY = '/dev/shm'

async function memoryDir(): Promise<string> {
  const memory = await stat(MEMORY).catch(() => undefined)
  if (memory !== undefined) return MEMORY
  if (process.platform !== 'linux') return tmpdir()
  throw new StarlingError('CONFIG_INVALID', `there is no ${MEMORY}: name a directory with --data`)
}
