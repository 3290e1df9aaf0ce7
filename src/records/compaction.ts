import type { JournalDisk, JournalFile } from './disk.ts'
import { type Batch, encodeFrame, SEGMENT_HEADER_BYTES, segmentHeader } from './frame.ts'
import { segmentPath, temporaryPath } from './segments.ts'
import type { Stamp } from './stamp.ts'

export interface CompactionOptions {
  readonly directory: string
  readonly disk: JournalDisk
  readonly segmentBytes: number
  /** The number of the first segment to write, and the first that must not be reached. */
  readonly from: number
  readonly below: number
  readonly floor: Stamp
  /** Written before all records. */
  readonly note: Uint8Array | undefined
}

/** Records in one frame: at most half of what a frame may hold. */
const FRAME_RECORDS = 1_024

/**
 * Writes records into segments of their own, beside the journal, and then makes them part of it.
 * Gives the size in bytes of each. Until the renames nothing has changed; after some of them the
 * journal holds records twice, which does no harm.
 */
export async function writeCompaction(
  options: CompactionOptions,
  records: AsyncIterable<Uint8Array>,
  signal: AbortSignal
): Promise<ReadonlyMap<number, number>> {
  const { directory, disk } = options
  const sizes = new Map<number, number>()
  try {
    await writeTemporaries(options, records, sizes, signal)
    for (const segment of sizes.keys()) {
      await disk.rename(temporaryPath(directory, segment), segmentPath(directory, segment))
    }
    await disk.syncDirectory(directory)
    return sizes
  } catch (error) {
    for (const segment of sizes.keys()) {
      await disk.remove(temporaryPath(directory, segment)).catch(() => {})
    }
    throw error
  }
}

async function writeTemporaries(
  options: CompactionOptions,
  records: AsyncIterable<Uint8Array>,
  sizes: Map<number, number>,
  signal: AbortSignal
): Promise<void> {
  const { directory, disk, segmentBytes, floor, note } = options
  let segment = options.from - 1
  let offset = segmentBytes
  let file: JournalFile | undefined
  try {
    for await (const batch of batchesOf(records, floor, note)) {
      signal.throwIfAborted()
      if (file === undefined || offset >= segmentBytes) {
        await finish(file)
        file = undefined
        if (++segment >= options.below) throw new Error('no number left for a compacted segment')
        sizes.set(segment, SEGMENT_HEADER_BYTES)
        file = await disk.create(temporaryPath(directory, segment))
        await file.append(segmentHeader())
        offset = SEGMENT_HEADER_BYTES
      }
      const { frame } = encodeFrame(batch, segment, offset)
      await file.append(frame)
      offset += frame.length
      sizes.set(segment, offset)
    }
    await finish(file)
    file = undefined
  } finally {
    await file?.close().catch(() => {})
  }
}

async function finish(file: JournalFile | undefined): Promise<void> {
  await file?.sync()
  await file?.close()
}

async function* batchesOf(
  records: AsyncIterable<Uint8Array>,
  floor: Stamp,
  note: Uint8Array | undefined
): AsyncGenerator<Batch, void> {
  if (note !== undefined) yield { floor, records: [], note }
  for await (const group of groups(records)) yield { floor, records: group }
}

async function* groups(records: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array[], void> {
  let group: Uint8Array[] = []
  for await (const record of records) {
    group.push(record)
    if (group.length < FRAME_RECORDS) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
