import { rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { crc32 } from 'node:zlib'
import { Level } from 'level'
import type { Digest } from '../digest.ts'
import { StarlingError, systemCode } from '../errors.ts'
import type { Log } from '../log.ts'

/** A predecessor that is being stopped needs a moment to let go of the directory. */
const LOCK_WAIT_MS = 5_000
const LOCK_RETRY_MS = 100

/** Entries taken from Level at a time, and the bytes of them: one by one takes twice as long. */
const READ_ENTRIES = 1_000
const READ_BYTES = 256 * 1024

/** The first word of every entry; one that starts otherwise is not read, and the file is asked. */
const FORMAT = 'v1'

export interface SizeIndexOptions {
  readonly directory: string
  readonly log: Log
  readonly lockWaitMs?: number
  readonly signal?: AbortSignal
}

/**
 * The sizes of the blobs on disk, kept in Level so that a start need not look at every file. An
 * entry is written once its blob and the name of it are durable; it proves nothing more. The
 * files are the truth: whatever is wrong with the index, it is thrown away and made anew.
 */
export class SizeIndex {
  readonly #level: Level<string, string>
  readonly #log: Log
  #state: 'sound' | 'failing' | 'closed' = 'sound'

  /** Opens the index and gives every entry that is sound. Throws `DATA_LOCKED` or `DISK_FAILED`. */
  static async open(
    options: SizeIndexOptions
  ): Promise<{ index: SizeIndex; sizes: Map<Digest, number> }> {
    try {
      return await openAndLoad(options)
    } catch (error) {
      if (error instanceof StarlingError) throw error
      options.signal?.throwIfAborted()
      options.log.warn({ err: error }, 'blob index damaged, made anew')
    }
    try {
      await rm(options.directory, { recursive: true, force: true })
      return await openAndLoad(options)
    } catch (error) {
      if (error instanceof StarlingError) throw error
      throw new StarlingError('DISK_FAILED', `cannot make an index in ${options.directory}`, {
        cause: error
      })
    }
  }

  /** Only for {@link openAndLoad}. */
  constructor(level: Level<string, string>, log: Log) {
    this.#level = level
    this.#log = log
  }

  /**
   * Adds and removes entries in one step. Not synced, and a failure is only logged: what is lost
   * here is found again in the directories at the next start.
   */
  async update(added: ReadonlyMap<Digest, number>, removed: readonly Digest[]): Promise<void> {
    if (this.#state !== 'sound') return
    try {
      await this.#level.batch([
        ...[...added].map(([key, size]) => ({ type: 'put' as const, key, value: seal(key, size) })),
        ...removed.map(key => ({ type: 'del' as const, key }))
      ])
    } catch (error) {
      this.#state = 'failing'
      this.#log.warn({ err: error }, 'blob index not written until the next start')
    }
  }

  async close(): Promise<void> {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    await this.#level.close()
  }
}

async function openAndLoad(
  options: SizeIndexOptions
): Promise<{ index: SizeIndex; sizes: Map<Digest, number> }> {
  const level = await openLevel(options)
  try {
    const sizes = new Map<Digest, number>()
    const entries = level.iterator({ highWaterMarkBytes: READ_BYTES })
    for (;;) {
      const batch = await entries.nextv(READ_ENTRIES)
      if (batch.length === 0) break
      for (const [key, value] of batch) {
        const size = unseal(key, value)
        // What bears its check was written here, under a digest.
        if (size !== undefined) sizes.set(key as Digest, size)
      }
    }
    await entries.close()
    return { index: new SizeIndex(level, options.log), sizes }
  } catch (error) {
    await level.close()
    throw error
  }
}

async function openLevel(options: SizeIndexOptions): Promise<Level<string, string>> {
  const { directory, lockWaitMs = LOCK_WAIT_MS, signal } = options
  for (let waitedMs = 0; ; waitedMs += LOCK_RETRY_MS) {
    const level = new Level<string, string>(directory)
    try {
      await level.open()
      return level
    } catch (error) {
      if (!isLocked(error)) throw error
      if (waitedMs >= lockWaitMs) {
        const advice = 'stop it, or give this one another --data'
        throw new StarlingError('DATA_LOCKED', `another process uses ${directory}: ${advice}`, {
          cause: error
        })
      }
      await delay(LOCK_RETRY_MS, undefined, { ...(signal && { signal }) })
    }
  }
}

/** Level wraps what LevelDB said: the code that matters is that of the cause. */
function isLocked(error: unknown): boolean {
  return error instanceof Error && systemCode(error.cause) === 'LEVEL_LOCKED'
}

/** LevelDB does not check its blocks as it reads them, so that each entry carries its own check. */
function seal(key: string, sizeBytes: number): string {
  const text = `${FORMAT} ${sizeBytes}`
  return `${text} ${checkOf(key, text).toString(16)}`
}

/** A start does this for each blob: without `split`, and with no number made text, in half the time. */
function unseal(key: string, value: string): number | undefined {
  const end = value.lastIndexOf(' ')
  const text = value.slice(0, end)
  if (!text.startsWith(`${FORMAT} `)) return undefined
  if (Number.parseInt(value.slice(end + 1), 16) !== checkOf(key, text)) return undefined
  return Number(text.slice(FORMAT.length + 1))
}

function checkOf(key: string, text: string): number {
  return crc32(`${key} ${text}`)
}
