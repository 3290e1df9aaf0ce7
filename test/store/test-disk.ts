import { readdir, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
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
  readonly bytes: 'kept' | 'dropped' | 'zeroed'
}

interface FileState {
  writtenBytes: number
  syncedBytes: number
}

type Name = { kind: 'renamed'; from: string; path: string } | { kind: 'made'; path: string }

/**
 * A disk that records what is asked of it, refuses what it is told to refuse, and can be cut off:
 * then nothing reaches it any more, as if the process had died. After that, `losePower` rebuilds
 * a state that the file system may be in.
 */
export class TestDisk implements Disk {
  readonly steps: Step[] = []
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
    if (cut.bytes !== 'kept') {
      for (const [path, { writtenBytes, syncedBytes }] of this.#files) {
        if (writtenBytes <= syncedBytes) continue
        await truncate(path, syncedBytes)
        if (cut.bytes === 'zeroed') await truncate(path, writtenBytes)
      }
    }
    if (cut.names === 'kept') return
    for (const name of this.#unsyncedNames.toReversed()) {
      if (name.kind === 'renamed') await rename(name.path, name.from)
      else await rm(name.path, { recursive: true })
    }
  }

  async openFile(path: string): Promise<DiskFile> {
    this.#step('open', path)
    const file = await nodeDisk.openFile(path)
    const { sizeBytes } = await file.stat()
    const state = { writtenBytes: sizeBytes, syncedBytes: sizeBytes }
    this.#files.set(path, state)
    return {
      write: async (chunks, position) => {
        this.#step('write', path)
        await this.beforeWrite()
        await file.write(chunks, position)
        for (const chunk of chunks) state.writtenBytes += chunk.length
      },
      read: (buffer, position) => file.read(buffer, position),
      stat: () => file.stat(),
      datasync: async () => {
        this.#step('datasync', path)
        const bytes = state.writtenBytes
        await file.datasync()
        state.syncedBytes = bytes
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
    await nodeDisk.syncDirectory(path)
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
