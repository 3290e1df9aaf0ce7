import { StarlingError } from '../errors.ts'
import { WITHHELD_BYTES } from './follow.ts'
import type { PieceMap } from './piece-map.ts'

/** How far those may read who read a blob in order while its pieces come. */
export class PieceFollowers {
  readonly #map: PieceMap
  #changed = Promise.withResolvers<void>()
  #end: { readonly error: StarlingError } | 'verified' | undefined

  constructor(map: PieceMap) {
    this.#map = map
  }

  /** There is more to read. */
  tell(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers<void>()
  }

  /** All of it is there, and right. */
  verified(): void {
    this.#end ??= 'verified'
    this.tell()
  }

  /** They may have read what is wrong, or nothing more will come. */
  fail(error: StarlingError): void {
    this.#end ??= { error }
    this.tell()
  }

  /**
   * Waits until there are bytes to read from `position` on, and gives their end. The last
   * {@link WITHHELD_BYTES} are there only once all is verified. Throws what it failed with, and
   * `SIZE_INVALID` when the blob has another size than announced.
   */
  async reach(position: number, sizeBytes: number): Promise<number> {
    for (;;) {
      if (typeof this.#end === 'object') throw this.#end.error
      const known = this.#map.sizeBytes
      if (known !== undefined && known !== sizeBytes) {
        throw new StarlingError('SIZE_INVALID', `the blob has ${known} bytes, not ${sizeBytes}`)
      }
      const visible = this.#end === 'verified' ? sizeBytes : sizeBytes - WITHHELD_BYTES
      const reach = Math.min(this.#map.reach(position), visible)
      if (reach > position) return reach
      await this.#changed.promise
    }
  }
}
