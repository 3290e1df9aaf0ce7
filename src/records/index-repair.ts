import { join } from 'node:path'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { diskError, type JournalDisk } from './disk.ts'
import { RecordIndex } from './index.ts'
import type { Journal } from './journal.ts'
import { replay, type Storage } from './recovery.ts'

/**
 * What opening an index may write: LevelDB puts its log, of up to 4 MiB, into a table, and begins
 * another log and manifest.
 */
const ROOM_BYTES = 8 * 1024 * 1024

/**
 * After a commit that the index refused: opens it again and brings it level with the journal, which
 * is right all along, or builds it again from the journal if it is not sound. Nothing may be
 * committed meanwhile; reads wait. Throws `DISK_FULL` and `DISK_FAILED` while the disk takes nothing,
 * and has then changed nothing: what cannot be written can still be read.
 */
export async function repairIndex(
  storage: Storage,
  { disk, log }: { readonly disk: JournalDisk; readonly log: Log }
): Promise<void> {
  await tryDisk(disk, storage.journal.directory)
  await storage.index.replace(() => openAgain(storage, log))
}

async function openAgain({ journal, index }: Storage, log: Log): Promise<RecordIndex> {
  const again = await RecordIndex.open(index.options)
  if (again !== undefined && index.mayStandAt(again.mark)) {
    await catchUp(again, journal, log)
    if (index.isWholeAt(again.mark)) return again
  }
  await again?.close()
  if (!(await journal.isSound())) {
    throw new StarlingError('DATA_DAMAGED', 'the record index is damaged, and so is its journal')
  }
  log.warn({ directory: index.options.directory }, 'record index unsound, rebuilding')
  const fresh = await RecordIndex.renew(index.options)
  await catchUp(fresh, journal, log)
  return fresh
}

async function catchUp(index: RecordIndex, journal: Journal, log: Log): Promise<void> {
  try {
    await replay(journal, index, index.mark, log)
  } catch (error) {
    await index.close()
    throw error
  }
}

/** Whether the disk takes as much as it will have to. */
async function tryDisk(disk: JournalDisk, directory: string): Promise<void> {
  const path = join(directory, 'room.tmp')
  try {
    // One that was left there by an attempt before.
    await disk.remove(path).catch(() => undefined)
    const file = await disk.create(path)
    try {
      await file.append(Buffer.alloc(ROOM_BYTES))
      await file.sync()
    } finally {
      await file.close()
      await disk.remove(path)
      await disk.syncDirectory(directory)
    }
  } catch (error) {
    throw diskError(error, 'trying whether there is room for the record index')
  }
}
