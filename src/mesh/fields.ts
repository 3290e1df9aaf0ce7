import { decode } from 'cborg'
import { StarlingError } from '../errors.ts'

/**
 * Typed access to a CBOR map from a peer. Each getter throws `PEER_FAILED` when the field is absent,
 * of another type or beyond its bound; fields nobody asks for are ignored, so that a later version
 * can add some.
 */
export class Fields {
  readonly #map: Map<unknown, unknown>

  constructor(bytes: Uint8Array) {
    const value = decodeCbor(bytes)
    if (!(value instanceof Map)) throw wrong('message')
    this.#map = value
  }

  /** Whether there is such a field, which not every version sends. */
  has(name: string): boolean {
    return this.#map.has(name)
  }

  text(name: string, maxLength: number): string {
    const value = this.#map.get(name)
    if (typeof value !== 'string' || value.length > maxLength) throw wrong(name)
    return value
  }

  /** One of the given words. */
  word<Word extends string>(name: string, words: readonly Word[]): Word {
    const value = this.#map.get(name)
    const known = words.find(word => word === value)
    if (known === undefined) throw wrong(name)
    return known
  }

  /** A whole number from 0 that JavaScript holds exactly. */
  count(name: string): number {
    const value = this.#map.get(name)
    if (!isCount(value)) throw wrong(name)
    return value
  }

  /** {@link count} of a field that earlier versions do not send. */
  countOr(name: string, absent: number): number {
    return this.#map.has(name) ? this.count(name) : absent
  }

  flag(name: string): boolean {
    const value = this.#map.get(name)
    if (typeof value !== 'boolean') throw wrong(name)
    return value
  }

  bytes(name: string): Uint8Array {
    const value = this.#map.get(name)
    if (!(value instanceof Uint8Array)) throw wrong(name)
    return value
  }

  texts(name: string, maxCount: number, maxLength: number): readonly string[] {
    return this.#list(name, maxCount).map(value => {
      if (typeof value !== 'string' || value.length > maxLength) throw wrong(name)
      return value
    })
  }

  counts(name: string, maxCount: number): readonly number[] {
    return this.#list(name, maxCount).map(value => {
      if (!isCount(value)) throw wrong(name)
      return value
    })
  }

  byteStrings(name: string, maxCount: number): readonly Uint8Array[] {
    return this.#list(name, maxCount).map(value => {
      if (!(value instanceof Uint8Array)) throw wrong(name)
      return value
    })
  }

  #list(name: string, maxCount: number): readonly unknown[] {
    const value = this.#map.get(name)
    if (!Array.isArray(value) || value.length > maxCount) throw wrong(name)
    return value
  }
}

/** Decodes one CBOR value; maps become `Map`. Throws `PEER_FAILED`. */
export function decodeCbor(bytes: Uint8Array): unknown {
  try {
    return decode(bytes, { useMaps: true, rejectDuplicateMapKeys: true })
  } catch (error) {
    throw new StarlingError('PEER_FAILED', 'a message that is not CBOR', { cause: error })
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function wrong(name: string): StarlingError {
  return new StarlingError('PEER_FAILED', `a message whose field "${name}" is wrong`)
}
