import { rm } from 'node:fs/promises'
import { Level } from 'level'
import { algorithmOf, type Digest, digestOf, tryDigest } from '../digest.ts'
import type { Log } from '../log.ts'

/** Manifests of images have a few kilobytes; what is longer is read from its file. */
const MAX_COPY_BYTES = 64 * 1024

/** Copies that may wait to be written. Beyond it none is made, until the manifest is read again. */
const MAX_PENDING_BYTES = 4 * 1024 * 1024

/** Taken from Level at a time. */
const READ_ENTRIES = 1_000
const READ_BYTES = 1024 * 1024

type Copies = Level<Digest, Buffer>

/**
 * The bytes of manifests, side by side in Level, so that a start reads 5,000 of them in a few long
 * reads instead of from as many files: 0.6 s of processor until all is known that they name, instead
 * of 1.1 (`npm run prove -- many-blobs`). A copy is only believed when it has its digest, and proves
 * nothing about the file; so any may be lost, or left over, at any time. Nothing here ever throws.
 */
export class ManifestCopies {
  readonly #log: Log
  readonly #pending = new Set<Promise<void>>()
  #level: Copies | undefined
  #pendingBytes = 0

  /** What is damaged is made anew; on a disk that takes nothing there will be no copies. */
  static async open(directory: string, log: Log): Promise<ManifestCopies> {
    try {
      return new ManifestCopies(await openLevel(directory), log)
    } catch (error) {
      log.warn({ err: error }, 'copies of manifests damaged, made anew')
    }
    try {
      await rm(directory, { recursive: true, force: true })
      return new ManifestCopies(await openLevel(directory), log)
    } catch (error) {
      log.warn({ err: error }, 'no copies of manifests are kept')
      return new ManifestCopies(undefined, log)
    }
  }

  private constructor(level: Copies | undefined, log: Log) {
    this.#level = level
    this.#log = log
  }

  /** All sound copies, some at a time. */
  async *read(): AsyncGenerator<readonly (readonly [Digest, Buffer])[], void> {
    const entries = this.#level?.iterator({ highWaterMarkBytes: READ_BYTES })
    try {
      for (;;) {
        const batch = (await entries?.nextv(READ_ENTRIES)) ?? []
        if (batch.length === 0) return
        yield batch.filter(([key, bytes]) => {
          const digest = tryDigest(key)
          return digest !== undefined && digestOf(bytes, algorithmOf(digest)) === digest
        })
      }
    } catch (error) {
      this.#failed(error)
    } finally {
      await entries?.close()
    }
  }

  /** Keeps a copy of verified bytes, some time soon. */
  add(digest: Digest, bytes: Buffer): void {
    if (bytes.length > MAX_COPY_BYTES) return
    if (this.#pendingBytes + bytes.length > MAX_PENDING_BYTES) return
    this.#pendingBytes += bytes.length
    this.#do(async level => {
      await level.put(digest, bytes)
      this.#pendingBytes -= bytes.length
    })
  }

  remove(digest: Digest): void {
    this.#do(level => level.del(digest))
  }

  async close(): Promise<void> {
    await Promise.all(this.#pending)
    await this.#level?.close()
    this.#level = undefined
  }

  #do(change: (level: Copies) => Promise<void>): void {
    if (this.#level === undefined) return
    const done = change(this.#level)
      .catch(error => this.#failed(error))
      .finally(() => this.#pending.delete(done))
    this.#pending.add(done)
  }

  #failed(error: unknown): void {
    const level = this.#level
    if (level === undefined) return
    this.#level = undefined
    this.#log.warn({ err: error }, 'no copies of manifests are kept until the next start')
    void level.close().catch(() => undefined)
  }
}

async function openLevel(directory: string): Promise<Copies> {
  const level: Copies = new Level(directory, { valueEncoding: 'buffer' })
  await level.open()
  return level
}
