import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Algorithm } from '../digest.ts'
import { StarlingError } from '../errors.ts'
import type { Disk } from './disk.ts'
import { PieceFile } from './piece-file.ts'
import type { PieceFileOptions } from './piece-file-options.ts'
import { CLAIMS_SUFFIX, PIECES_PREFIX, removePieces } from './piece-storage.ts'

export interface PieceFilesOptions {
  readonly directory: string
  readonly disk: Disk
  readonly settle: PieceFileOptions['settle']
}

/** What a blob in pieces is like. */
export interface PiecesShape {
  readonly pieceBytes: number
  /** Absent while the blob still grows somewhere. */
  readonly sizeBytes?: number
  /** Of the digest that is expected; sha256 by default. */
  readonly algorithm?: Algorithm
  /** What is written is made durable in portions of this size; 64 MiB by default. */
  readonly syncEveryBytes?: number
  readonly signal?: AbortSignal
}

const PIECES_NAME = /^[a-z0-9][a-z0-9-]{0,191}$/

/** The blobs that come in pieces, each opened once at a time. */
export class PieceFiles {
  readonly #options: PieceFilesOptions
  readonly #opened = new Map<string, PieceFile | 'opening' | 'removing'>()

  /** Whether a file in the directory is one of these. */
  static isFile(file: string): boolean {
    const name = file.startsWith(PIECES_PREFIX) ? file.slice(PIECES_PREFIX.length) : ''
    const bare = name.endsWith(CLAIMS_SUFFIX) ? name.slice(0, -CLAIMS_SUFFIX.length) : name
    return PIECES_NAME.test(bare)
  }

  constructor(options: PieceFilesOptions) {
    this.#options = options
  }

  /** Names left from before, or open. */
  async names(): Promise<string[]> {
    const files = await readdir(this.#options.directory)
    return files
      .filter(file => PieceFiles.isFile(file) && !file.endsWith(CLAIMS_SUFFIX))
      .map(file => file.slice(PIECES_PREFIX.length))
      .sort()
  }

  /** Opens or resumes one. Throws `UNAVAILABLE` while somebody else has it open. */
  async open(name: string, shape: PiecesShape): Promise<PieceFile> {
    const { directory, disk, settle } = this.#options
    this.#take(name)
    const file = await PieceFile.open({
      ...{ directory, disk, settle, name },
      algorithm: 'sha256',
      ...shape,
      ended: () => this.#opened.delete(name)
    })
    this.#opened.set(name, file)
    return file
  }

  /** Removes one that nobody has open; false when somebody has. */
  async remove(name: string): Promise<boolean> {
    if (!PIECES_NAME.test(name) || this.#opened.has(name)) return false
    this.#opened.set(name, 'removing')
    try {
      await removePieces({ ...this.#options, name })
      return true
    } finally {
      this.#opened.delete(name)
    }
  }

  /** Removes what cannot be gone on with: pieces without claims and claims without pieces. */
  async tidy(): Promise<void> {
    const { directory, disk } = this.#options
    const files = new Set((await readdir(directory)).filter(PieceFiles.isFile))
    for (const file of files) {
      const isClaims = file.endsWith(CLAIMS_SUFFIX)
      const other = isClaims ? file.slice(0, -CLAIMS_SUFFIX.length) : `${file}${CLAIMS_SUFFIX}`
      if (!files.has(other)) await disk.remove(join(directory, file))
    }
  }

  /** Closes those still open; they are kept. */
  async close(): Promise<void> {
    for (const file of [...this.#opened.values()]) {
      if (file instanceof PieceFile) await file.close()
    }
  }

  #take(name: string): void {
    if (!PIECES_NAME.test(name)) {
      throw new StarlingError('UNKNOWN', `"${name}" cannot name a file of pieces`)
    }
    if (this.#opened.has(name)) {
      throw new StarlingError('UNAVAILABLE', `${name} is being written by somebody else`)
    }
    this.#opened.set(name, 'opening')
  }
}
