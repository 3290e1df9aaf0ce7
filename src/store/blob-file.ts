import { open, stat } from 'node:fs/promises'
import { type Algorithm, type Digest, finishDigest, startDigest } from '../digest.ts'
import { StarlingError, systemCode } from '../errors.ts'
import type { Kernel } from '../kernel.ts'
import { FileReads } from './file-reads.ts'

/** Hashed in a millisecond at most, so that nobody waits for the event loop. */
const CHECK_BYTES = 1024 * 1024

/** The file of a blob, open for reading; it notices when the file is not what it should be. */
export class BlobFile {
  readonly #path: string
  readonly #reads: FileReads
  readonly #sizeBytes: number
  readonly #inode: number
  #damaged = false
  #condemned = false

  /**
   * Opens the file; `undefined` when it is missing, unreadable or of another size. Throws
   * `UNAVAILABLE` when the trouble is not the file's, such as too many open files.
   */
  static async open(path: string, sizeBytes: number): Promise<BlobFile | undefined> {
    try {
      const handle = await open(path, 'r')
      const found = await handle.stat()
      if (found.size === sizeBytes) {
        return new BlobFile(path, new FileReads(handle), sizeBytes, found.ino)
      }
      await handle.close()
      return undefined
    } catch (error) {
      if (isDamage(error)) return undefined
      throw new StarlingError('UNAVAILABLE', `cannot open ${path}`, { cause: error })
    }
  }

  private constructor(path: string, reads: FileReads, sizeBytes: number, inode: number) {
    this.#path = path
    this.#reads = reads
    this.#sizeBytes = sizeBytes
    this.#inode = inode
  }

  /**
   * Fills the buffer from `position`. Throws `DATA_DAMAGED` when the file does not go so far, or has
   * been condemned.
   */
  async read(buffer: Uint8Array, position: number): Promise<void> {
    this.#checkSound()
    try {
      const bytesRead = await this.#reads.fill(buffer, position)
      if (bytesRead === buffer.length) return
      this.#damaged = true
    } catch (error) {
      this.#damaged = isDamage(error)
      throw new StarlingError('DATA_DAMAGED', `cannot read ${this.#path}`, { cause: error })
    }
    throw new StarlingError('DATA_DAMAGED', `${this.#path} has been cut short`)
  }

  /**
   * Moves bytes into a socket past this process, as {@link Kernel.sendFile} does. Damage shows by
   * nothing being moved; throws `DATA_DAMAGED` when the file has been condemned.
   */
  async moveTo(kernel: Kernel, socket: number, position: number, count: number): Promise<number> {
    this.#checkSound()
    return await this.#reads.moveTo(kernel, socket, position, count)
  }

  /** The whole of a small file. Throws `DATA_DAMAGED`. */
  async whole(): Promise<Buffer> {
    const bytes = Buffer.alloc(this.#sizeBytes)
    await this.read(bytes, 0)
    return bytes
  }

  /**
   * The digest of all its bytes; `undefined` when they cannot be read to the end. Throws
   * `UNAVAILABLE` when the trouble is not the file's.
   *
   * @param pace waited for before so many bytes are read
   */
  async digest(
    algorithm: Algorithm,
    pace: (bytes: number) => Promise<void>
  ): Promise<Digest | undefined> {
    const hash = startDigest(algorithm)
    const buffer = Buffer.allocUnsafeSlow(Math.min(CHECK_BYTES, this.#sizeBytes))
    for (let at = 0; at < this.#sizeBytes; ) {
      const chunk = buffer.subarray(0, this.#sizeBytes - at)
      await pace(chunk.length)
      try {
        await this.read(chunk, at)
      } catch (cause) {
        if (this.#damaged) return undefined
        throw new StarlingError('UNAVAILABLE', `cannot read ${this.#path}`, { cause })
      }
      hash.update(chunk)
      at += chunk.length
    }
    return finishDigest(algorithm, hash)
  }

  /** Ends all reading: the bytes were found to be wrong. */
  condemn(): void {
    this.#condemned = true
  }

  /** Whether a read met damage. */
  get damaged(): boolean {
    return this.#damaged
  }

  /** Whether no sound file has taken the place of this one since. */
  async isStillInPlace(): Promise<boolean> {
    try {
      const found = await stat(this.#path)
      return found.ino === this.#inode || found.size !== this.#sizeBytes
    } catch (error) {
      return isDamage(error)
    }
  }

  close(): Promise<void> {
    return this.#reads.close()
  }

  #checkSound(): void {
    if (!this.#condemned) return
    throw new StarlingError('DATA_DAMAGED', `${this.#path} was found damaged by another reader`)
  }
}

/** Gone, or on a part of the disk that cannot be read any more. */
function isDamage(error: unknown): boolean {
  const code = systemCode(error)
  return code === 'ENOENT' || code === 'EIO'
}
