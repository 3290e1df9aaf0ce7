import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { makeDirectories } from '../directories.ts'
import { readSegment, SEGMENT_HEADER_BYTES } from './frame.ts'

/** The end of a frame. The checksum is the frame's, 0 at the start of a segment. */
export interface Mark {
  readonly segment: number
  readonly offset: number
  readonly checksum: number
}

export function isSameMark(a: Mark | undefined, b: Mark | undefined): boolean {
  return a?.segment === b?.segment && a?.offset === b?.offset && a?.checksum === b?.checksum
}

/** Bytes of a segment that hold no sound frame. */
export interface Damage {
  readonly segment: number
  readonly from: number
  readonly to: number
}

/** What a look at every byte of a journal found. */
export interface Survey {
  /** Sound bytes of each segment, by number, ascending. */
  readonly sizes: Map<number, number>
  readonly damage: readonly Damage[]
  /** Bytes behind the last sound frame of the last segment, left by a write that was cut off. */
  readonly tornBytes: number
  /** Whether the mark that was looked for is the end of a sound frame here. */
  readonly markFound: boolean
  /** Files of a compaction that did not come to its end. */
  readonly leftovers: readonly string[]
}

const SEGMENT_NAME = /^journal-(\d{8})\.log$/

export function segmentPath(directory: string, segment: number): string {
  return join(directory, `journal-${String(segment).padStart(8, '0')}.log`)
}

/** Where a compaction writes a segment before it counts. */
export function temporaryPath(directory: string, segment: number): string {
  return `${segmentPath(directory, segment)}.tmp`
}

/** Checks every frame of every segment; changes nothing but makes the directory if there is none. */
export async function surveySegments(directory: string, mark?: Mark): Promise<Survey> {
  await makeDirectories(directory, 0o700)
  const names = await readdir(directory)
  const segments = names.flatMap(name => SEGMENT_NAME.exec(name)?.[1] ?? []).map(Number)
  const sizes = new Map<number, number>()
  const damage: Damage[] = []
  let tornBytes = 0
  let markFound = false
  for (const segment of segments.sort((a, b) => a - b)) {
    const bytes = await readFile(segmentPath(directory, segment))
    const found = surveySegment(bytes, segment, mark)
    const torn = segment === segments.at(-1) ? tornTail(found.damage, bytes.length) : undefined
    damage.push(...found.damage.filter(gap => gap !== torn))
    tornBytes = torn === undefined ? 0 : torn.to - torn.from
    sizes.set(segment, bytes.length - tornBytes)
    markFound ||= found.markFound
  }
  const leftovers = names.filter(name => name.endsWith('.tmp')).map(name => join(directory, name))
  return { sizes, damage, tornBytes, markFound, leftovers }
}

function surveySegment(
  bytes: Buffer,
  segment: number,
  mark: Mark | undefined
): { damage: Damage[]; markFound: boolean } {
  const damage: Damage[] = []
  let markFound = isStart(mark, segment)
  for (const piece of readSegment(bytes, segment)) {
    if (piece.kind === 'gap') damage.push({ segment, from: piece.from, to: piece.to })
    else if (mark?.segment === segment && mark.offset === piece.end) {
      markFound = mark.checksum === piece.checksum
    }
  }
  return { damage, markFound: markFound && damage[0]?.from !== 0 }
}

function isStart(mark: Mark | undefined, segment: number): boolean {
  return mark?.segment === segment && mark.offset === SEGMENT_HEADER_BYTES && mark.checksum === 0
}

/** The header is synced before anything follows it, so only a file that ends there can lack it. */
function tornTail(damage: readonly Damage[], sizeBytes: number): Damage | undefined {
  const last = damage.at(-1)
  if (last === undefined || last.to !== sizeBytes) return undefined
  return last.from > 0 || sizeBytes <= SEGMENT_HEADER_BYTES ? last : undefined
}
