import { dirname } from 'node:path'
import type { Digest } from '../../../src/digest.ts'
import type { JournalDisk, JournalFile } from '../../../src/records/disk.ts'
import { LevelStore } from './level-store.ts'
import type { World } from './world.ts'

/** What a disk may do wrong, beside losing power. */
export interface DiskFaults {
  /** Refuses what is written, as a full or a broken one does. */
  readonly refuses: 'ENOSPC' | 'EIO' | undefined
  /** How long a sync takes at most. */
  readonly syncMs: number
}

interface File {
  bytes: Buffer
  syncedBytes: number
}

/** A change of a directory that a power cut may take back. */
interface Change {
  readonly directory: string
  readonly undo: () => void
}

/** The disk of one machine: it outlives the processes, and can lose power or be replaced. */
export class Disk implements JournalDisk {
  faults: DiskFaults = { refuses: undefined, syncMs: 5 }
  /** After so many more changes the machine loses power in the middle of one. */
  powerCutAfter: number | undefined
  onPowerCut: () => void = () => undefined
  /** Says that it has synced files that it has not. */
  lies = false
  /** Indexes that Level keeps, by directory. */
  readonly levels = new Map<string, LevelStore>()
  /** Complete blobs, each durable from the moment it is here. */
  readonly blobs = new Map<Digest, Buffer>()
  /** Those of them that are not what was stored. */
  readonly rotten = new Set<Digest>()
  readonly #world: World
  readonly #files = new Map<string, File>()
  #unsynced: Change[] = []

  constructor(world: World) {
    this.#world = world
  }

  async create(path: string): Promise<JournalFile> {
    await this.change()
    if (this.#files.has(path)) throw systemError('EEXIST')
    this.#name(path, { bytes: Buffer.alloc(0), syncedBytes: 0 })
    return this.#open(path)
  }

  async resume(path: string, _offset: number): Promise<JournalFile> {
    await this.change()
    return this.#open(path)
  }

  async rename(from: string, to: string): Promise<void> {
    await this.change()
    const file = this.#file(from)
    this.#name(from, undefined)
    this.#name(to, file)
  }

  async remove(path: string): Promise<void> {
    await this.change()
    this.#file(path)
    this.#name(path, undefined)
  }

  async syncDirectory(path: string): Promise<void> {
    await this.sync()
    this.#unsynced = this.#unsynced.filter(({ directory }) => directory !== path)
  }

  names(directory: string): string[] {
    const paths = [...this.#files.keys()].filter(path => dirname(path) === directory)
    return paths.map(path => path.slice(directory.length + 1))
  }

  read(path: string): Buffer {
    return Buffer.from(this.#file(path).bytes)
  }

  /** Puts a file in place of what was there, and does not sync it. */
  async write(path: string, bytes: Buffer): Promise<void> {
    await this.change()
    this.#name(path, { bytes, syncedBytes: 0 })
  }

  async append(path: string, bytes: Buffer): Promise<void> {
    const before = this.#files.get(path)?.bytes ?? Buffer.alloc(0)
    await this.write(path, Buffer.concat([before, bytes]))
  }

  level(directory: string): LevelStore {
    const level = this.levels.get(directory) ?? new LevelStore()
    this.levels.set(directory, level)
    return level
  }

  /** All or nothing of it survives. */
  async putBlob(digest: Digest, bytes: Buffer): Promise<void> {
    await this.sync()
    this.blobs.set(digest, bytes)
    this.rotten.delete(digest)
  }

  /** Until the sync, a power cut may bring it back. */
  async removeBlob(digest: Digest): Promise<void> {
    await this.change()
    const bytes = this.blobs.get(digest)
    if (bytes === undefined) return
    this.blobs.delete(digest)
    const undo = () => void this.blobs.set(digest, bytes)
    this.#unsynced.push({ directory: '/blobs', undo })
    await this.syncDirectory('/blobs')
  }

  /** Turns a bit of a blob over, which nobody notices until it is read; a second time changes nothing. */
  rot(digest: Digest): void {
    if (this.rotten.has(digest)) return
    const bytes = Buffer.from(this.blobs.get(digest) ?? [])
    bytes[0] = (bytes[0] ?? 0) ^ 1
    this.blobs.set(digest, bytes)
    this.rotten.add(digest)
  }

  hasSound(digest: Digest): boolean {
    return this.blobs.has(digest) && !this.rotten.has(digest)
  }

  /** Whether some file has these bytes where no power cut can take them. */
  hasSynced(bytes: Uint8Array): boolean {
    for (const file of this.#files.values()) {
      if (file.bytes.subarray(0, file.syncedBytes).includes(Buffer.from(bytes))) return true
    }
    return false
  }

  /** What comes before each change: a disk that refuses, or power that goes. */
  async change(): Promise<void> {
    const { refuses } = this.faults
    if (!this.#world.isAlive()) await never()
    if (this.powerCutAfter !== undefined && this.powerCutAfter-- <= 0) {
      this.powerCutAfter = undefined
      this.onPowerCut()
      await never()
    }
    if (refuses !== undefined) throw systemError(refuses)
  }

  async sync(): Promise<void> {
    await this.change()
    await this.#world.sleep(this.#world.between(0, this.faults.syncMs))
  }

  /** As a new one. */
  clear(): void {
    this.#files.clear()
    this.levels.clear()
    this.blobs.clear()
    this.rotten.clear()
    this.#unsynced = []
  }

  /** What was not synced goes, or some of it: a torn write, a name that is not there. */
  losePower(): void {
    const world = this.#world
    const kept = Math.floor(world.random() * (this.#unsynced.length + 1))
    for (const { undo } of this.#unsynced.splice(kept).reverse()) undo()
    this.#unsynced = []
    for (const file of this.#files.values()) {
      const torn = Math.floor(world.random() * (file.bytes.length - file.syncedBytes + 1))
      file.bytes = file.bytes.subarray(0, file.syncedBytes + torn)
      file.syncedBytes = file.bytes.length
    }
    for (const level of this.levels.values()) level.losePower(world.random)
  }

  #open(path: string): JournalFile {
    const file = this.#file(path)
    return {
      append: async bytes => {
        await this.change()
        file.bytes = Buffer.concat([file.bytes, bytes])
      },
      sync: async () => {
        const sizeBytes = file.bytes.length
        await this.sync()
        if (!this.lies) file.syncedBytes = Math.max(file.syncedBytes, sizeBytes)
      },
      truncate: async sizeBytes => {
        await this.change()
        file.bytes = file.bytes.subarray(0, sizeBytes)
        file.syncedBytes = Math.min(file.syncedBytes, sizeBytes)
      },
      close: async () => undefined
    }
  }

  #file(path: string): File {
    const file = this.#files.get(path)
    if (file === undefined) throw systemError('ENOENT')
    return file
  }

  #name(path: string, file: File | undefined): void {
    const before = this.#files.get(path)
    this.#set(path, file)
    const undo = () => this.#set(path, before)
    this.#unsynced.push({ directory: dirname(path), undo })
  }

  #set(path: string, file: File | undefined): void {
    if (file === undefined) this.#files.delete(path)
    else this.#files.set(path, file)
  }
}

/** What a process waits for that has ended. */
export function never(): Promise<never> {
  return new Promise(() => undefined)
}

/** An error as the operating system gives it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: as the schedule wants it`), { code })
}
