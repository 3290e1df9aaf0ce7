import { StarlingError } from '../errors.ts'
import { type DiskFile, diskError } from './disk.ts'

const MIB = 1024 * 1024

/** What may wait in memory behind the write under way; beyond it, `append` waits. */
const MAX_PENDING_BYTES = 2 * MIB

/**
 * Dirty bytes are sent to the disk in portions of this size while more arrive, so that the last
 * sync of a blob of any size has little left to do (design section 4).
 */
export const SYNC_EVERY_BYTES = 64 * MIB

/** Whether the one who appends a chunk may go on reading it, or gives it away for good. */
export type Ownership = 'lent' | 'given'

/**
 * Appends to a file behind the caller's back, in order. One write is under way at a time; what
 * arrives meanwhile goes out with the next, so that slow bytes are readable at once and fast ones
 * travel in large writes. The first failure is final: nothing is ever written or synced again.
 */
export class Writer {
  readonly #file: DiskFile
  readonly #onWritten: () => void
  #pending: Uint8Array[] = []
  /** Those of the pending chunks that are nobody's but ours. */
  #given: Uint8Array[] = []
  #pendingBytes = 0
  #acceptedBytes: number
  #writtenBytes: number
  #syncStartedAtBytes: number
  #batch: Promise<void> | undefined
  #backgroundSync: Promise<void> = Promise.resolve()
  #failure: StarlingError | undefined

  /** Goes on at `offsetBytes`; `onWritten` is called when more bytes can be read from the file. */
  constructor(file: DiskFile, offsetBytes: number, onWritten: () => void) {
    this.#file = file
    this.#onWritten = onWritten
    this.#acceptedBytes = offsetBytes
    this.#writtenBytes = offsetBytes
    this.#syncStartedAtBytes = offsetBytes
  }

  /** Bytes taken, some of which may still be in memory. */
  get acceptedBytes(): number {
    return this.#acceptedBytes
  }

  /** Bytes that can be read from the file; they survive the process, not yet a power cut. */
  get writtenBytes(): number {
    return this.#writtenBytes
  }

  /**
   * Takes a chunk, which nobody may change from now on; waits while too much is pending. A chunk
   * that is given away nobody may even look at again: see {@link free}.
   */
  async append(chunk: Uint8Array, ownership: Ownership = 'lent'): Promise<void> {
    this.#check()
    this.#pending.push(chunk)
    if (ownership === 'given') this.#given.push(chunk)
    this.#pendingBytes += chunk.length
    this.#acceptedBytes += chunk.length
    this.#batch ??= this.#startBatch()
    while (this.#pendingBytes > MAX_PENDING_BYTES && this.#batch !== undefined) await this.#batch
    this.#check()
  }

  /** Waits until all that was taken is written. */
  async flush(): Promise<void> {
    while (this.#batch !== undefined) await this.#batch
    this.#check()
  }

  /** Waits until all that was taken is durable. */
  async sync(): Promise<void> {
    await this.flush()
    await this.#backgroundSync
    this.#check()
    await this.#sync()
    this.#check()
  }

  /** Drops what is pending and waits until nothing is under way. Never throws. */
  async stop(): Promise<void> {
    this.#fail(new StarlingError('CLOSED', 'the file was given up'))
    while (this.#batch !== undefined) await this.#batch
    await this.#backgroundSync
  }

  /** Never runs before its promise is in `#batch`, not even when a write fails at once. */
  #startBatch(): Promise<void> {
    return Promise.resolve().then(() => this.#writeBatch())
  }

  async #writeBatch(): Promise<void> {
    const chunks = this.#pending
    const given = this.#given
    const bytes = this.#pendingBytes
    this.#pending = []
    this.#given = []
    this.#pendingBytes = 0
    try {
      await this.#file.write(chunks, this.#writtenBytes)
      this.#writtenBytes += bytes
      for (const chunk of given) free(chunk)
      this.#onWritten()
      await this.#syncBehind()
    } catch (error) {
      this.#fail(diskError(error, 'writing a blob'))
    }
    this.#batch = this.#pendingBytes > 0 ? this.#startBatch() : undefined
  }

  /** Starts a sync when a portion is due; waits for the one before, so that the disk sets the pace. */
  async #syncBehind(): Promise<void> {
    if (this.#writtenBytes - this.#syncStartedAtBytes < SYNC_EVERY_BYTES) return
    await this.#backgroundSync
    if (this.#failure !== undefined) return
    this.#syncStartedAtBytes = this.#writtenBytes
    this.#backgroundSync = this.#sync()
  }

  async #sync(): Promise<void> {
    try {
      await this.#file.datasync()
    } catch (error) {
      this.#fail(diskError(error, 'syncing a blob'))
    }
  }

  #fail(failure: StarlingError): void {
    this.#failure ??= failure
    this.#pending = []
    this.#given = []
    this.#pendingBytes = 0
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure
  }
}

/**
 * Frees the memory of a chunk, where the chunk is all that lies in it. V8 sees only how much such
 * memory there is, not how soon it will be free, and collects all of the heap for every 64 MiB of
 * it: up to 50 times and 3 s of processor for each GiB pushed (`bench push`), instead of never.
 */
function free({ buffer, byteLength }: Uint8Array): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0)
}
