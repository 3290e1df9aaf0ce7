import { join } from 'node:path'
import type { Log } from '../log.ts'
import type { JournalDisk } from './disk.ts'
import { Draft } from './draft.ts'
import { RecordIndex } from './index.ts'
import { Journal } from './journal.ts'
import { tryDecodeRecord } from './record.ts'
import type { Damage, Mark } from './segments.ts'
import type { Stamp } from './stamp.ts'

export interface StorageOptions {
  readonly dataDir: string
  readonly disk: JournalDisk
  readonly log: Log
  readonly segmentBytes?: number
  readonly lockTimeoutMs?: number
}

/** A journal and an index that say the same. */
export interface Storage {
  readonly journal: Journal
  readonly index: RecordIndex
}

/** Records applied to the index at once while it is rebuilt: some megabytes of memory. */
const REPLAY_RECORDS = 4_096

/**
 * Opens what is on disk and makes it whole (design.md section 4: records exist nowhere else, and
 * one corrupt or deleted file must not lose them).
 *
 * - The index is missing, damaged or of another format: built again from the journal.
 * - The index is behind, after a crash: the journal is read from its mark on.
 * - The journal is damaged, missing or older than the index: written again from both.
 * - Both are damaged: every sound frame counts; what was lost is logged, and peers have it.
 */
export async function openStorage(options: StorageOptions): Promise<Storage> {
  const { dataDir, disk, log } = options
  const directory = join(dataDir, 'index', 'records')
  const index = await openIndex(directory, options)
  try {
    const journal = await Journal.open({
      directory: join(dataDir, 'records'),
      disk,
      log,
      mark: index.mark,
      ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes })
    })
    try {
      const indexedTo = index.mark
      await replay(journal, index, journal.holdsMark ? indexedTo : undefined, log)
      if (journal.damage.length > 0 || !journal.holdsMark) {
        const lost = lostFrom(journal, indexedTo)
        await rewrite({ journal, index }, { hasLost: lost.length > 0 })
        report(journal, lost, log)
      }
      return { journal, index }
    } catch (error) {
      await journal.close()
      throw error
    }
  } catch (error) {
    await index.close()
    throw error
  }
}

export async function closeStorage({ journal, index }: Storage): Promise<void> {
  await journal.close()
  await index.close()
}

/**
 * Writes the journal again from the index: without what is dead or damaged. Nothing may be
 * committed until `begun` is called; from then on commits may go on beside it.
 */
export async function rewrite(
  { journal, index }: Storage,
  options: {
    readonly signal?: AbortSignal
    readonly begun?: () => void
    /** Records are gone: what this node said of having all up to a stamp holds no more. */
    readonly hasLost?: boolean
  } = {}
): Promise<void> {
  const mark = await journal.roll(index.contents.fingerprint.sizeBytes)
  const { floor } = index
  const note = options.hasLost ? undefined : index.note
  await index.commit([], { mark, floor, note })
  const records = await index.records()
  options.begun?.()
  const signal = options.signal ?? new AbortController().signal
  await journal.compact(records, { mark, floor, note }, signal)
}

async function openIndex(directory: string, options: StorageOptions): Promise<RecordIndex> {
  const { log, lockTimeoutMs } = options
  const indexOptions = lockTimeoutMs === undefined ? { directory } : { directory, lockTimeoutMs }
  const index = await RecordIndex.open(indexOptions)
  if (index !== undefined) return index
  log.warn({ directory }, 'record index unsound, rebuilding')
  return await RecordIndex.renew(indexOptions)
}

/** Merging is idempotent: without a mark everything is simply read again. */
export async function replay(
  journal: Journal,
  index: RecordIndex,
  after: Mark | undefined,
  log: Log
): Promise<void> {
  let draft = new Draft(index)
  let floor: Stamp = index.floor
  let note = index.note
  let mark: Mark | undefined
  let records = 0
  const commit = async (upTo: Mark) => {
    await index.commit(draft.changes(), { mark: upTo, floor, note })
    draft = new Draft(index)
  }
  for await (const entry of journal.batches(after)) {
    mark = entry.mark
    if (entry.batch.floor > floor) floor = entry.batch.floor
    note = entry.batch.note ?? note
    for (const bytes of entry.batch.records) {
      const record = tryDecodeRecord(bytes)
      if (record === undefined) log.warn({ bytes: bytes.length }, 'journal holds no record here')
      else await draft.merge(record)
      records++
    }
    if (draft.added >= REPLAY_RECORDS) await commit(mark)
  }
  if (mark !== undefined) await commit(mark)
  if (records > 0) log.info({ records }, 'journal replayed')
}

/** Damage below the index's mark costs nothing, for the index has what was there. */
function lostFrom(journal: Journal, indexedTo: Mark | undefined): readonly Damage[] {
  return journal.damage.filter(gap => indexedTo === undefined || isBeyond(gap, indexedTo))
}

function report(journal: Journal, lost: readonly Damage[], log: Log): void {
  const { damage, holdsMark } = journal
  if (lost.length > 0) log.error({ lost }, 'records lost from the journal, only peers have them')
  else log.warn({ damage, holdsMark }, 'record journal rewritten from the index')
}

function isBeyond(gap: Damage, mark: Mark): boolean {
  return gap.segment > mark.segment || (gap.segment === mark.segment && gap.to > mark.offset)
}
