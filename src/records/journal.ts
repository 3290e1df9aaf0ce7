import { readFile } from 'node:fs/promises'
import { StarlingError } from '../errors.ts'
import type { Log } from '../log.ts'
import { writeCompaction } from './compaction.ts'
import { diskError, type JournalDisk, type JournalFile } from './disk.ts'
import {
  type Batch,
  encodeFrame,
  readSegment,
  SEGMENT_HEADER_BYTES,
  segmentHeader
} from './frame.ts'
import { type Damage, type Mark, type Survey, segmentPath, surveySegments } from './segments.ts'
import type { Stamp } from './stamp.ts'

export interface JournalOptions {
  readonly directory: string
  readonly disk: JournalDisk
  readonly log: Log
  /** Where an index stands in this journal; looked for while opening, see {@link Journal.holdsMark}. */
  readonly mark?: Mark | undefined
  /** Another segment begins after this many bytes. */
  readonly segmentBytes?: number
}

/** A segment is read whole when it is opened; a million records are some 30 of these. */
const SEGMENT_BYTES = 16 * 1024 * 1024

type State =
  | { readonly kind: 'open'; readonly file: JournalFile; readonly segment: number; offset: number }
  | { readonly kind: 'between segments' }
  | { readonly kind: 'closed' }

/**
 * The source of all records on this node: segments of checksummed frames, only ever appended to.
 * What `append` has answered survives a power cut. The order of frames means nothing, for records
 * merge in any order; that lets a compaction write its segments beside the running one.
 *
 * `append` and `roll` want one caller at a time, which the queue in `Commits` is.
 */
export class Journal {
  readonly #options: JournalOptions
  /** Bytes of each segment, by number. */
  readonly #sizes: Map<number, number>
  /** What was not sound at opening; it stays on disk until {@link compact} replaces it. */
  readonly damage: readonly Damage[]
  /** Whether the mark given to `open` is here, so that what follows it is all that the index lacks. */
  readonly holdsMark: boolean
  #state: State = { kind: 'between segments' }
  /** A segment that was begun in vain, and could not be removed either. */
  #leftover: number | undefined

  private constructor(options: JournalOptions, survey: Survey) {
    this.#options = options
    this.#sizes = survey.sizes
    this.damage = survey.damage
    this.holdsMark = options.mark === undefined || survey.markFound
  }

  /**
   * Checks every frame. A torn tail is cut off: nothing of it was ever answered. Throws
   * `DATA_DAMAGED` for a later format and `DISK_FAILED`; damage is listed, not thrown.
   */
  static async open(options: JournalOptions): Promise<Journal> {
    try {
      const survey = await surveySegments(options.directory, options.mark)
      for (const path of survey.leftovers) await options.disk.remove(path)
      const journal = new Journal(options, survey)
      await journal.#resume(survey)
      return journal
    } catch (error) {
      throw diskError(error, 'opening the record journal')
    }
  }

  get directory(): string {
    return this.#options.directory
  }

  /** Whether every frame of it is sound by now, but for a tail that was never answered. */
  async isSound(): Promise<boolean> {
    return (await surveySegments(this.directory)).damage.length === 0
  }

  /** All segments together, sound or not. */
  get sizeBytes(): number {
    return [...this.#sizes.values()].reduce((sum, sizeBytes) => sum + sizeBytes, 0)
  }

  /** Every sound batch, or only those that follow a mark. */
  async *batches(after?: Mark): AsyncGenerator<{ batch: Batch; mark: Mark }, void> {
    for (const segment of [...this.#sizes.keys()].sort((a, b) => a - b)) {
      if (after !== undefined && segment < after.segment) continue
      const bytes = await readFile(segmentPath(this.#options.directory, segment))
      for (const piece of readSegment(bytes, segment)) {
        if (piece.kind === 'gap') continue
        if (after?.segment === segment && piece.end <= after.offset) continue
        const mark = { segment, offset: piece.end, checksum: piece.checksum }
        yield { batch: piece.batch(), mark }
      }
    }
  }

  /**
   * Writes batches and syncs once for all of them; gives the mark behind them. Throws `DISK_FULL`
   * or `DISK_FAILED`, and then none of them counts. A failed sync is not tried again, since what
   * the system keeps of the file is unknown then: the segment ends, and the next append begins one.
   */
  async append(batches: readonly Batch[]): Promise<Mark> {
    const state = await this.#writable()
    const frames: Buffer[] = []
    let mark: Mark = { segment: state.segment, offset: state.offset, checksum: 0 }
    for (const batch of batches) {
      const { frame, checksum } = encodeFrame(batch, state.segment, mark.offset)
      frames.push(frame)
      mark = { segment: state.segment, offset: mark.offset + frame.length, checksum }
    }
    try {
      await state.file.append(Buffer.concat(frames))
      await state.file.sync()
    } catch (error) {
      this.#state = { kind: 'between segments' }
      await state.file.truncate(state.offset).catch(() => {})
      await state.file.close().catch(() => {})
      throw diskError(error, 'writing records')
    }
    state.offset = mark.offset
    this.#sizes.set(state.segment, mark.offset)
    return mark
  }

  /**
   * Begins another segment and keeps numbers free below it for the compaction of `liveBytes` of
   * records. Gives the mark for an index that holds all appended so far.
   */
  async roll(liveBytes: number): Promise<Mark> {
    await this.#endSegment()
    const room = Math.ceil((2 * liveBytes) / this.#segmentBytes) + 1
    return await this.#begin(this.#lastSegment() + room + 1)
  }

  /**
   * Puts records in place of all segments below a mark that {@link roll} gave; they must be all
   * that live in those. Appends may go on meanwhile. A crash leaves the old segments, or both.
   * Damaged segments are kept, as `….damaged`, for whoever wants to look into them.
   */
  async compact(
    records: AsyncIterable<Uint8Array>,
    upTo: {
      readonly mark: Mark
      readonly floor: Stamp
      readonly note: Uint8Array | undefined
    },
    signal: AbortSignal
  ): Promise<void> {
    const { directory, disk } = this.#options
    const old = [...this.#sizes.keys()].filter(segment => segment < upTo.mark.segment)
    const { mark, floor, note } = upTo
    const range = { from: Math.max(0, ...old) + 1, below: mark.segment, floor, note }
    const options = { directory, disk, segmentBytes: this.#segmentBytes, ...range }
    try {
      const written = await writeCompaction(options, records, signal)
      for (const [segment, sizeBytes] of written) this.#sizes.set(segment, sizeBytes)
      // The oldest first and one by one, so that no crash leaves what was deleted without the
      // tombstone that came after it.
      for (const segment of old.sort((a, b) => a - b)) {
        const path = segmentPath(directory, segment)
        const damaged = this.damage.some(damage => damage.segment === segment)
        await (damaged ? disk.rename(path, `${path}.damaged`) : disk.remove(path))
        this.#sizes.delete(segment)
        await disk.syncDirectory(directory)
      }
    } catch (error) {
      throw signal.aborted ? error : diskError(error, 'compacting the record journal')
    }
  }

  async close(): Promise<void> {
    await this.#endSegment()
    this.#state = { kind: 'closed' }
  }

  get #segmentBytes(): number {
    return this.#options.segmentBytes ?? SEGMENT_BYTES
  }

  #lastSegment(): number {
    return Math.max(0, ...this.#sizes.keys())
  }

  /** Goes on with the last segment, unless it is damaged: then another will be begun. */
  async #resume(survey: Survey): Promise<void> {
    const { directory, disk, log } = this.#options
    const segment = this.#lastSegment()
    const sizeBytes = survey.sizes.get(segment)
    if (sizeBytes === undefined || survey.damage.some(gap => gap.segment === segment)) return
    const path = segmentPath(directory, segment)
    if (sizeBytes < SEGMENT_HEADER_BYTES) {
      await disk.remove(path)
      this.#sizes.delete(segment)
      return
    }
    const file = await disk.resume(path, sizeBytes)
    if (survey.tornBytes > 0) {
      await file.truncate(sizeBytes)
      log.info({ segment, bytes: survey.tornBytes }, 'torn journal tail cut off')
    }
    // A process that was killed may have written frames, and begun a segment, that it did not live to
    // sync. From here on others are told that this node has them.
    await file.sync()
    await disk.syncDirectory(directory)
    this.#state = { kind: 'open', file, segment, offset: sizeBytes }
  }

  async #writable(): Promise<State & { kind: 'open' }> {
    if (this.#state.kind === 'open' && this.#state.offset >= this.#segmentBytes) {
      await this.#endSegment()
    }
    if (this.#state.kind === 'between segments') await this.#begin(this.#lastSegment() + 1)
    if (this.#state.kind === 'open') return this.#state
    throw new StarlingError('CLOSED', 'the record journal is closed')
  }

  async #begin(segment: number): Promise<Mark> {
    const { directory, disk } = this.#options
    const path = segmentPath(directory, segment)
    let file: JournalFile | undefined
    try {
      if (this.#leftover === segment) await disk.remove(path)
      this.#leftover = undefined
      file = await disk.create(path)
      await file.append(segmentHeader())
      await file.sync()
      await disk.syncDirectory(directory)
    } catch (error) {
      await file?.close().catch(() => {})
      if (file !== undefined) {
        await disk.remove(path).catch(() => {
          this.#leftover = segment
        })
      }
      throw diskError(error, 'beginning a journal segment')
    }
    this.#state = { kind: 'open', file, segment, offset: SEGMENT_HEADER_BYTES }
    this.#sizes.set(segment, SEGMENT_HEADER_BYTES)
    return { segment, offset: SEGMENT_HEADER_BYTES, checksum: 0 }
  }

  async #endSegment(): Promise<void> {
    if (this.#state.kind !== 'open') return
    const { file } = this.#state
    this.#state = { kind: 'between segments' }
    await file.close()
  }
}
