import { readFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../../../src/clock.ts'
import { digestOf } from '../../../src/digest.ts'
import { silentLog } from '../../../src/log.ts'
import { type JournalDisk, nodeDisk } from '../../../src/records/disk.ts'
import { Records } from '../../../src/records/records.ts'

const RECORDS_PER_WRITE = 1_000
const TAGS_PER_REPOSITORY = 100

/** Writes so many tags, each a register of its own: into open records, or unsynced into a directory. */
export async function fillRecords(
  target: Records | string,
  count: number,
  from = 0
): Promise<void> {
  const records = typeof target === 'string' ? await openRecords(target, unsyncedDisk) : target
  for (let at = from; at < from + count; at += RECORDS_PER_WRITE) {
    const length = Math.min(RECORDS_PER_WRITE, from + count - at)
    const numbers = Array.from({ length }, (_, i) => at + i)
    await records.write(
      numbers.map(number => ({
        kind: 'tag' as const,
        repository: `team-${number % 7}/service-${Math.floor(number / TAGS_PER_REPOSITORY)}`,
        tag: `v1.${number}`,
        digest: digestOf(Buffer.from(`image ${number}`))
      }))
    )
  }
  if (typeof target === 'string') await records.close()
}

/** What this process takes with the records of a directory open; needs `--expose-gc`. */
export async function weighRecords(dataDir: string) {
  const start = performance.now()
  const records = await openRecords(dataDir, nodeDisk)
  const openSeconds = (performance.now() - start) / 1000
  for (let i = 0; i < 5; i++) {
    globalThis.gc?.()
    await delay(200)
  }
  const { rss: rssBytes, heapUsed: heapBytes } = process.memoryUsage()
  const anonymousBytes = await anonymousMemory()
  const { count } = records.root()
  await records.close()
  return { count, openSeconds, rssBytes, anonymousBytes, heapBytes }
}

/**
 * LevelDB maps its files, whose pages count as resident and can be given back at any time: what the
 * process itself needs is the rest. Linux only.
 */
async function anonymousMemory(): Promise<number> {
  const status = await readFile('/proc/self/status', 'utf8')
  return Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

function openRecords(dataDir: string, disk: JournalDisk): Promise<Records> {
  return Records.open({ dataDir, origin: 'weighed', clock: systemClock, log: silentLog, disk })
}

/** Syncing is no part of what is measured where records are only filled in. */
const unsyncedDisk: JournalDisk = {
  ...nodeDisk,
  create: async path => ({ ...(await nodeDisk.create(path)), sync: async () => {} }),
  resume: async (path, offset) => ({
    ...(await nodeDisk.resume(path, offset)),
    sync: async () => {}
  }),
  syncDirectory: async () => {}
}
