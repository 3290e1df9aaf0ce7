import { open, readdir, readFile, rename, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { type Disk, type DiskFile, nodeDisk } from '../../src/store/disk.ts'

export interface Step {
  readonly kind: 'open' | 'write' | 'datasync' | 'rename' | 'sync' | 'mkdir' | 'remove'
  /** The path that the step changes: of a rename, the new one. */
  readonly path: string
}

/** What a power cut may do to that which was not synced. */
export interface PowerCut {
  readonly names: 'kept' | 'dropped'
  /** `torn` keeps the first half of each write. */
  readonly bytes: 'kept' | 'dropped' | 'zeroed' | 'torn'
}

interface Extent {
  readonly start: number
  readonly end: number
}

interface FileState {
  syncedBytes: number
  unsynced: Extent[]
}

type Name =
  | { kind: 'renamed'; from: string; path: string }
  | { kind: 'made' | 'created'; path: string }

/**
 * A disk that records what is asked of it, refuses what it is told to refuse, and can be cut off:
 * then nothing reaches it any more, as if the process had died. After that, `losePower` rebuilds
 * a state that the file system may be in.
 */
export class TestDisk implements Disk {
  readonly steps: Step[] = []
  /** Those that have ended, each with how many had ended when it began. */
  readonly done: (Step & { readonly since: number })[] = []
  /** Gives the error for a step that is to fail. */
  refuse: (step: Step, index: number) => Error | undefined = () => undefined
  /** What a write waits for before it begins. */
  beforeWrite: () => Promise<void> = async () => undefined
  readonly #files = new Map<string, FileState>()
  #unsyncedNames: Name[] = []
  #dead = false

  /** Dies right before the step of this number (from 0). */
  dieAt(index: number): void {
    this.refuse = (_step, at) => {
      if (at < index && !this.#dead) return undefined
      this.#dead = true
      return new Error('the process is dead')
    }
  }

  /** The kinds of the steps that touch a path for which the test is true. */
  kinds(matches: (path: string) => boolean = () => true): string[] {
    return this.steps.filter(step => matches(step.path)).map(step => step.kind)
  }

  async losePower(cut: PowerCut): Promise<void> {
    for (const [path, state] of this.#files) await loseBytes(path, state, cut.bytes)
    if (cut.names === 'kept') return
    for (const name of this.#unsyncedNames.toReversed()) {
      if (name.kind === 'renamed') await rename(name.path, name.from)
      else await rm(name.path, { recursive: true, force: true })
    }
  }

  async openFile(path: string): Promise<DiskFile> {
    this.#step('open', path)
    const isNew = !(await namesIn(dirname(path))).includes(basename(path))
    const file = await nodeDisk.openFile(path)
    if (isNew) this.#unsyncedNames.push({ kind: 'created', path })
    const { sizeBytes } = await file.stat()
    const state: FileState = this.#files.get(path) ?? { syncedBytes: sizeBytes, unsynced: [] }
    this.#files.set(path, state)
    return {
      write: async (chunks, position) => {
        this.#step('write', path)
        await this.beforeWrite()
        const bytes = chunks.reduce((sum, { length }) => sum + length, 0)
        state.unsynced.push({ start: position, end: position + bytes })
        const since = this.done.length
        await file.write(chunks, position)
        this.done.push({ kind: 'write', path, since })
      },
      read: (buffer, position) => file.read(buffer, position),
      stat: () => file.stat(),
      datasync: async () => {
        this.#step('datasync', path)
        const before = new Set(state.unsynced)
        const { sizeBytes: syncedBytes } = await file.stat()
        const since = this.done.length
        await file.datasync()
        state.syncedBytes = syncedBytes
        state.unsynced = state.unsynced.filter(extent => !before.has(extent))
        this.done.push({ kind: 'datasync', path, since })
      },
      close: () => file.close()
    }
  }

  async rename(from: string, path: string): Promise<void> {
    this.#step('rename', path)
    await nodeDisk.rename(from, path)
    this.#unsyncedNames.push({ kind: 'renamed', from, path })
    const state = this.#files.get(from)
    if (state !== undefined) this.#files.set(path, state)
    this.#files.delete(from)
  }

  async syncDirectory(path: string): Promise<void> {
    this.#step('sync', path)
    const since = this.done.length
    await nodeDisk.syncDirectory(path)
    this.done.push({ kind: 'sync', path, since })
    this.#unsyncedNames = this.#unsyncedNames.filter(name => dirname(name.path) !== path)
  }

  async makeDirectory(path: string): Promise<void> {
    this.#step('mkdir', path)
    const there = await namesIn(dirname(path))
    await nodeDisk.makeDirectory(path)
    if (!there.includes(basename(path))) this.#unsyncedNames.push({ kind: 'made', path })
  }

  async remove(path: string): Promise<void> {
    this.#step('remove', path)
    await nodeDisk.remove(path)
    this.#files.delete(path)
  }

  #step(kind: Step['kind'], path: string): void {
    const step = { kind, path }
    const refusal = this.refuse(step, this.steps.length)
    if (refusal !== undefined) throw refusal
    this.steps.push(step)
  }
}

/** Takes away what was not synced: a write that was under way may have got as far as any. */
async function loseBytes(
  path: string,
  { syncedBytes, unsynced }: FileState,
  how: PowerCut['bytes']
): Promise<void> {
  if (how === 'kept' || unsynced.length === 0) return
  if (how === 'dropped') await truncate(path, syncedBytes)
  const { size } = await stat(path)
  await using file = await open(path, 'r+')
  for (const { start, end } of unsynced) {
    const from = how === 'torn' ? Math.ceil((start + end) / 2) : start
    const bytes = Math.min(end, size) - from
    if (bytes > 0) await file.write(Buffer.alloc(bytes), 0, bytes, from)
  }
}

/** An error as the operating system gives it. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: as the test wants it`), { code })
}

/** Flips one bit in the middle of each file of a directory whose name matches; gives how many. */
export async function rotFiles(directory: string, names: RegExp): Promise<number> {
  let rotten = 0
  for (const name of await namesIn(directory)) {
    const path = join(directory, name)
    if (!names.test(name)) continue
    const bytes = await readFile(path)
    const middle = Math.floor(bytes.length / 2)
    const byte = bytes[middle]
    if (byte === undefined) continue
    bytes[middle] = byte ^ 0x10
    await writeFile(path, bytes)
    rotten += 1
  }
  return rotten
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => [])
}
