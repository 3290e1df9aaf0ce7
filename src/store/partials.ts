import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Algorithm, Digest } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { CheckedBlob } from './checked-blob.ts'
import type { Disk } from './disk.ts'
import { Partial, type PartialOptions } from './partial.ts'
import { PieceFiles } from './piece-files.ts'
import { type Staged, stage } from './staging.ts'

/** Names of uploads begin so; all others are downloads. */
export const UPLOAD_PREFIX = 'upload-'

/** Session files lie beside the bytes of their upload. */
export const SESSION_SUFFIX = '.json'

const PARTIAL_NAME = /^[a-z0-9][a-z0-9-]{0,199}$/

export interface PartialsOptions {
  readonly directory: string
  readonly disk: Disk
  readonly settle: PartialOptions['settle']
}

/** The directory of files on their way to become blobs, each opened once at a time. */
export class Partials {
  readonly #options: PartialsOptions
  readonly #opened = new Map<string, Promise<Partial>>()
  readonly #removing = new Set<string>()
  readonly #staging = new Set<Promise<unknown>>()
  #temporaries = 0

  /** Removes what nobody can go on with: temporary files of an earlier process, and strangers. */
  static async open(options: PartialsOptions): Promise<Partials> {
    for (const name of await readdir(options.directory)) {
      if (isPartialName(name) || isSessionName(name) || PieceFiles.isFile(name)) continue
      await options.disk.remove(join(options.directory, name))
    }
    return new Partials(options)
  }

  private constructor(options: PartialsOptions) {
    this.#options = options
  }

  /** Downloads left from before; uploads are found by their sessions. */
  async names(): Promise<string[]> {
    const names = await readdir(this.#options.directory)
    return names.filter(name => isPartialName(name) && !name.startsWith(UPLOAD_PREFIX)).sort()
  }

  /** Opens or resumes one. Throws `UNAVAILABLE` while somebody else has it open. */
  take(name: string, algorithm: Algorithm, signal?: AbortSignal): Promise<Partial> {
    if (!isPartialName(name)) {
      throw new StarlingError('UNKNOWN', `"${name}" cannot name a partial file`)
    }
    return this.#take(name, algorithm, signal)
  }

  /** Writes and syncs small blobs, each in a file that no later process will find; see {@link stage}. */
  stage(blobs: readonly CheckedBlob[]): Promise<Map<Digest, Staged>> {
    const { directory, disk } = this.#options
    const staged = stage(blobs, disk, () => join(directory, `${++this.#temporaries}.tmp`))
    this.#staging.add(staged)
    const end = () => this.#staging.delete(staged)
    staged.then(end, end)
    return staged
  }

  /** Removes one that nobody has open; false when somebody has. */
  async remove(name: string): Promise<boolean> {
    if (!isPartialName(name) || this.#opened.has(name) || this.#removing.has(name)) return false
    this.#removing.add(name)
    try {
      await this.#options.disk.remove(join(this.#options.directory, name))
      return true
    } finally {
      this.#removing.delete(name)
    }
  }

  /** Closes those still open; they are kept. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#staging)
    const opened = await Promise.allSettled(this.#opened.values())
    for (const result of opened) {
      if (result.status === 'fulfilled') await result.value.close()
    }
  }

  #take(name: string, algorithm: Algorithm, signal: AbortSignal | undefined): Promise<Partial> {
    if (this.#opened.has(name) || this.#removing.has(name)) {
      throw new StarlingError('UNAVAILABLE', `${name} is being written by somebody else`)
    }
    const partial = Partial.open({
      disk: this.#options.disk,
      path: join(this.#options.directory, name),
      algorithm,
      settle: this.#options.settle,
      onEnd: () => this.#opened.delete(name),
      ...(signal && { signal })
    })
    this.#opened.set(name, partial)
    return partial
  }
}

function isPartialName(name: string): boolean {
  return PARTIAL_NAME.test(name) && !PieceFiles.isFile(name)
}

function isSessionName(name: string): boolean {
  return name.startsWith(UPLOAD_PREFIX) && name.endsWith(SESSION_SUFFIX)
}
