import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Clock } from '../../src/clock.ts'
import { digestOf } from '../../src/digest.ts'
import { silentLog } from '../../src/log.ts'
import { type JournalDisk, type JournalFile, nodeDisk } from '../../src/records/disk.ts'
import { Records, type RecordsOptions } from '../../src/records/records.ts'
import type { TagValue } from '../../src/records/values.ts'

export interface TestClock extends Clock {
  ms: number
}

/** A clock that stands still until a test moves it. */
export function testClock(ms = 1_800_000_000_000): TestClock {
  const clock = { ms, now: () => clock.ms, monotonic: () => clock.ms }
  return clock
}

/** A directory that is gone after the test. */
export async function scratch(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'starling-records-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  return directory
}

export async function openRecords(
  t: TestContext,
  options: Partial<RecordsOptions> = {}
): Promise<Records> {
  const dataDir = options.dataDir ?? (await scratch(t))
  const records = await Records.open({
    dataDir,
    origin: 'node-a',
    clock: testClock(),
    log: silentLog,
    lockTimeoutMs: 0,
    ...options
  })
  t.after(() => records.close())
  return records
}

export function tagWrite(repository: string, tag: string, content = tag): TagValue {
  return { kind: 'tag', repository, tag, digest: digestOf(Buffer.from(content)) }
}

export interface RecordingDisk extends JournalDisk {
  readonly events: string[]
  /** Throw this at the next operation of that name. */
  fail: { operation: string; error: Error } | undefined
}

/** The real disk, with a list of what was asked of it, that can be made to fail. */
export function recordingDisk(): RecordingDisk {
  const events: string[] = []
  const disk: RecordingDisk = {
    events,
    fail: undefined,
    create: async path => wrap(await on('create', () => nodeDisk.create(path))),
    resume: async (path, offset) => wrap(await on('resume', () => nodeDisk.resume(path, offset))),
    rename: (from, to) => on('rename', () => nodeDisk.rename(from, to)),
    remove: path => on('remove', () => nodeDisk.remove(path)),
    syncDirectory: path => on('syncDirectory', () => nodeDisk.syncDirectory(path))
  }
  const wrap = (file: JournalFile): JournalFile => ({
    append: bytes => on('append', () => file.append(bytes)),
    sync: () => on('sync', () => file.sync()),
    truncate: sizeBytes => on('truncate', () => file.truncate(sizeBytes)),
    close: () => file.close()
  })
  const on = async <T>(operation: string, action: () => Promise<T>): Promise<T> => {
    events.push(operation)
    const failure = disk.fail
    if (failure?.operation === operation) {
      disk.fail = undefined
      throw failure.error
    }
    return await action()
  }
  return disk
}

export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code })
}
