import { randomUUID } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../clock.ts'
import type { Algorithm, Digest } from '../digest.ts'
import { isCode, StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Blobs } from './blobs.ts'
import { type Disk, diskError, nodeDisk } from './disk.ts'
import { layoutOf, sizeOf } from './layout.ts'
import type { BlobStat } from './partial.ts'
import { SESSION_SUFFIX, UPLOAD_PREFIX } from './partials.ts'
import type { ByteRange, RangeStream } from './range-stream.ts'
import { readSession, writeSession } from './session.ts'
import { type AppendOptions, type Upload, UploadSession } from './upload-session.ts'
import { type UploadOutcome, UploadTap } from './upload-tap.ts'

/** Longer than any retry of a client; what it left behind is of no use to anyone else. */
const IDLE_TIMEOUT_MS = 60 * 60 * 1000

/** Each session may hold an open file and 4 MiB of bytes on their way to the disk. */
const MAX_SESSIONS = 256
/** A client that goes on after a broken connection does so sooner. */
const ABANDONED_MS = 60_000

/** Of one owner, so that nobody can keep all others from pushing. */
const MAX_SESSIONS_PER_OWNER = 128

export interface UploadsOptions {
  readonly dataDir: string
  readonly blobs: Blobs
  readonly clock: Clock
  readonly log: Log
  readonly disk?: Disk
  /** How long a session may stay without a byte before it is removed; 1 h by default. */
  readonly idleTimeoutMs?: number
  /** Sessions at a time; 256 by default. */
  readonly maxSessions?: number
  /** Of them, those of one owner; 128 by default. */
  readonly maxSessionsPerOwner?: number
  /** The most that is read again to be hashed under an unannounced algorithm; 4 GiB by default. */
  readonly maxRehashBytes?: number
}

export interface CreateOptions {
  /** Who begins it; `''` by default. */
  readonly owner?: string
  /** Of the digest that it will be closed with, if that was announced; sha256 by default. */
  readonly algorithm?: Algorithm
}

/**
 * Push sessions: blobs that clients upload in one or several requests (OCI distribution,
 * "Pushing blobs"). They survive a restart of the process, with every byte that was answered for.
 */
export class Uploads {
  /** What comes in can be heard of and slowed down here. */
  readonly tap: UploadTap
  readonly #options: UploadsOptions
  readonly #disk: Disk
  readonly #directory: string
  readonly #idleTimeoutMs: number
  readonly #sessions: Map<string, UploadSession>
  readonly #timer: NodeJS.Timeout
  /** Sessions being made, which count against the bound too. */
  #creating = 0
  #closing: Promise<void> | undefined

  /** Finds the sessions left from before; bytes without one are removed. */
  static async open(options: UploadsOptions): Promise<Uploads> {
    const { blobs, clock, maxRehashBytes, disk = nodeDisk } = options
    const directory = layoutOf(options.dataDir).partial
    const sessions = new Map<string, UploadSession>()
    const tap = new UploadTap(options.log)
    try {
      const names = (await readdir(directory)).filter(name => name.startsWith(UPLOAD_PREFIX))
      for (const name of names.filter(name => name.endsWith(SESSION_SUFFIX))) {
        const session = await readSession(join(directory, name))
        if (session === undefined || name !== sessionName(session.id)) continue
        // A session without bytes has been finished, by a process that died right after.
        const offset = await sizeOf(join(directory, dataName(session.id)))
        if (offset === undefined) continue
        sessions.set(
          session.id,
          new UploadSession({ ...session, offset, maxRehashBytes, blobs, tap, clock })
        )
      }
      const kept = new Set([...sessions.keys()].flatMap(id => [dataName(id), sessionName(id)]))
      for (const name of names) {
        if (!kept.has(name)) await disk.remove(join(directory, name))
      }
    } catch (error) {
      throw diskError(error, 'looking for uploads')
    }
    return new Uploads(options, sessions, tap)
  }

  private constructor(
    options: UploadsOptions,
    sessions: Map<string, UploadSession>,
    tap: UploadTap
  ) {
    this.tap = tap
    this.#options = options
    this.#disk = options.disk ?? nodeDisk
    this.#directory = layoutOf(options.dataDir).partial
    this.#idleTimeoutMs = options.idleTimeoutMs ?? IDLE_TIMEOUT_MS
    this.#sessions = sessions
    this.#timer = setInterval(() => void this.expire(), Math.max(this.#idleTimeoutMs / 4, 1000))
    this.#timer.unref()
  }

  /** Begins a session. Throws `TOOMANYREQUESTS` at the bound, `DISK_FULL` or `DISK_FAILED`. */
  async create(repository: string, options: CreateOptions = {}): Promise<Upload> {
    this.#checkOpen()
    const { blobs, clock, maxRehashBytes } = this.#options
    const { owner = '', algorithm = 'sha256' } = options
    const abandoned = this.#inTheWay(owner)
    const id = randomUUID()
    this.#creating += 1
    try {
      if (abandoned !== undefined) await this.#end(abandoned)
      const file = await this.#disk.openFile(join(this.#directory, dataName(id)))
      await file.close()
      const path = join(this.#directory, sessionName(id))
      await writeSession(this.#disk, path, { version: 1, id, repository, owner, algorithm })
    } catch (error) {
      await this.#removeFiles(id)
      throw diskError(error, 'beginning an upload')
    } finally {
      this.#creating -= 1
    }
    const session = new UploadSession({
      ...{ id, repository, owner, algorithm, offset: 0 },
      ...{ maxRehashBytes, blobs, tap: this.tap, clock }
    })
    this.#sessions.set(id, session)
    return session
  }

  /** The repositories that something is being uploaded to. */
  repositories(): Set<string> {
    return new Set([...this.#sessions.values()].map(({ repository }) => repository))
  }

  /** The session of this id; throws `BLOB_UPLOAD_UNKNOWN`, also when of another repository. */
  get(repository: string, id: string): Upload {
    const session = this.#sessions.get(id)
    if (session?.repository !== repository) throw unknownUpload(id)
    return session
  }

  /**
   * Appends a body and gives the new offset. What arrived is kept and answered for, also when the
   * body breaks off (its error is thrown), and when it is longer or shorter than declared
   * (`SIZE_INVALID`; a longer one is kept up to what was declared). Throws `RANGE_INVALID` when
   * it starts elsewhere than at the offset, and `BLOB_UPLOAD_INVALID` while another body is being
   * taken; both leave the session as it is. A disk failure ends the session.
   */
  async append(
    upload: Upload,
    body: AsyncIterable<Uint8Array>,
    options: AppendOptions = {}
  ): Promise<number> {
    const session = this.#session(upload)
    try {
      return await session.append(body, options)
    } catch (error) {
      if (isCode(error, 'DISK_FULL') || isCode(error, 'DISK_FAILED')) await this.#end(session)
      throw error
    }
  }

  /**
   * Ends the session: its bytes become a blob, durably. Throws `DIGEST_INVALID` when they are
   * another one, and then the session is gone too; `BLOB_UPLOAD_INVALID` while a body is taken.
   */
  async finish(upload: Upload, digest: Digest): Promise<BlobStat> {
    const session = this.#session(upload)
    try {
      const stat = await session.commit(digest)
      await this.#end(session, { kind: 'blob', digest, sizeBytes: stat.sizeBytes })
      return stat
    } catch (error) {
      if (!isCode(error, 'BLOB_UPLOAD_INVALID')) await this.#end(session)
      throw error
    }
  }

  /** Ends the session and removes its bytes; a body being taken fails. */
  async cancel(upload: Upload): Promise<void> {
    await this.#end(this.#session(upload))
  }

  /**
   * A stream of bytes that have come in, which nobody has verified. Throws `BLOB_UPLOAD_UNKNOWN` when
   * no body of the upload was taken by this process, `RANGE_INVALID` beyond what is written, and
   * `CLOSED` for the moment in which it becomes a blob.
   */
  read(id: string, range: ByteRange): RangeStream {
    const session = this.#sessions.get(id)
    if (session === undefined) throw unknownUpload(id)
    return session.read(range)
  }

  /** Removes the sessions that have been idle too long; called by a timer of our own. */
  async expire(): Promise<void> {
    for (const session of [...this.#sessions.values()]) {
      if (session.idleMs < this.#idleTimeoutMs) continue
      this.#options.log.info({ upload: session.id, bytes: session.offset }, 'upload expired')
      await this.#end(session)
    }
  }

  /** Keeps all sessions for the next start. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all([...this.#sessions.values()].map(session => session.close()))
  }

  /**
   * At the bound, the session that has to give way to a new one: pushes break off, and nobody has
   * touched it for a while. Throws `TOOMANYREQUESTS` when all are in use.
   */
  #inTheWay(owner: string): UploadSession | undefined {
    const { maxSessions = MAX_SESSIONS, maxSessionsPerOwner = MAX_SESSIONS_PER_OWNER } =
      this.#options
    const all = [...this.#sessions.values()]
    const own = all.filter(session => session.owner === owner)
    const isOwnFull = own.length + this.#creating >= maxSessionsPerOwner
    if (!isOwnFull && all.length + this.#creating < maxSessions) return undefined
    const [idlest] = (isOwnFull ? own : all).sort((a, b) => b.idleMs - a.idleMs)
    if (idlest !== undefined && idlest.idleMs >= ABANDONED_MS) {
      this.#options.log.info({ upload: idlest.id, bytes: idlest.offset }, 'upload gave way')
      return idlest
    }
    throw new StarlingError('TOOMANYREQUESTS', 'too many uploads are under way', {
      retryAfterSeconds: 5
    })
  }

  /** By the id, since the caller may hold a session that has ended. */
  #session(upload: Upload): UploadSession {
    this.#checkOpen()
    const session = this.#sessions.get(upload.id)
    if (session === undefined) throw unknownUpload(upload.id)
    return session
  }

  async #end(session: UploadSession, outcome: UploadOutcome = { kind: 'gone' }): Promise<void> {
    if (this.#sessions.delete(session.id)) this.tap.tellEnded(session, outcome)
    await session.discard()
    await this.#removeFiles(session.id)
  }

  /** Bytes first: a session without bytes is as good as none at the next start. */
  async #removeFiles(id: string): Promise<void> {
    for (const name of [dataName(id), sessionName(id)]) {
      await this.#disk.remove(join(this.#directory, name)).catch(() => undefined)
    }
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new StarlingError('CLOSED', 'the uploads are closed')
  }
}

function dataName(id: string): string {
  return `${UPLOAD_PREFIX}${id}`
}

function sessionName(id: string): string {
  return `${dataName(id)}${SESSION_SUFFIX}`
}

function unknownUpload(id: string): StarlingError {
  return new StarlingError('BLOB_UPLOAD_UNKNOWN', 'there is no such upload', { detail: id })
}
