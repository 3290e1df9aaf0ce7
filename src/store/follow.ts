import { StarlingError } from '../errors.ts'
import type { DiskFile } from './disk.ts'
import type { ByteRange, RangeSource } from './range-stream.ts'

/**
 * The end of a blob that followers get only after its digest has been verified, so that nobody
 * can take an unverified blob for a complete one (design section 6).
 */
export const WITHHELD_BYTES = 1024 * 1024

/** What a follower wants of a blob that is still being written; the default is all of it. */
export interface FollowRange extends Partial<ByteRange> {
  /** Announced size of the whole blob. */
  readonly sizeBytes: number
}

/** How far a growing file has come, for those who read along. */
export class Growth {
  #state: GrowthState = { kind: 'growing', writtenBytes: 0 }
  #changed = Promise.withResolvers<void>()

  /** Tells the followers; what is told after the end, whichever it was, is not heard. */
  tell(state: GrowthState): void {
    if (this.#state.kind !== 'growing') return
    this.#state = state
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  /**
   * Waits until a follower may read beyond `position`, and gives the position up to which it may.
   * Throws once the blob is known not to come, or to have another size than announced.
   */
  async reach(position: number, sizeBytes: number): Promise<number> {
    for (;;) {
      const reach = visible(this.#state, sizeBytes)
      if (reach > position) return reach
      await this.#changed.promise
    }
  }
}

export type GrowthState =
  | { readonly kind: 'growing'; readonly writtenBytes: number }
  | { readonly kind: 'complete'; readonly sizeBytes: number }
  | { readonly kind: 'ended'; readonly error: Error }

/** A source for one follower over the file of all; `release` gives back its share of the file. */
export function followSource(
  file: DiskFile,
  growth: Growth,
  sizeBytes: number,
  release: () => Promise<void>
): RangeSource {
  return {
    async read(buffer, position) {
      const bytesRead = await file.read(buffer, position)
      if (bytesRead < buffer.length) {
        throw new StarlingError('DATA_DAMAGED', 'a file being written was cut short')
      }
    },
    reach: position => growth.reach(position, sizeBytes),
    release
  }
}

function visible(state: GrowthState, sizeBytes: number): number {
  switch (state.kind) {
    case 'growing':
      return Math.min(state.writtenBytes, sizeBytes - WITHHELD_BYTES)
    case 'complete':
      if (state.sizeBytes === sizeBytes) return sizeBytes
      throw new StarlingError(
        'SIZE_INVALID',
        `the blob has ${state.sizeBytes} bytes, not ${sizeBytes}`
      )
    case 'ended':
      throw state.error
  }
}
