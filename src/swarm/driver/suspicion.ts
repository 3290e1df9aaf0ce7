import type { Part } from './part.ts'

/** Each costs the fetching of the pieces in dispute; beyond it the blob comes another way. */
const MAX_SUSPECTS = 3

/** What to do about a blob whose pieces are all here and which is another one. */
export interface Verdict {
  /** Whose word is not heard from now on. */
  readonly suspect: string
  /** The pieces that rest on it. */
  readonly pieces: readonly number[]
  /** The one before, who was suspected in vain. */
  readonly cleared: string | undefined
}

/**
 * Some neighbour gave a wrong list of pieces, and pieces to match: the lists are compared. Whoever
 * was denied by most others is suspected first, and when the blob is right without its pieces, that
 * was the liar. `undefined` when no list is in dispute, or nobody is left to suspect.
 */
export function suspect(part: Part): Verdict | undefined {
  if (part.suspects.length >= MAX_SUSPECTS) return undefined
  for (const peer of part.claims.suspects()) {
    if (part.suspects.includes(peer)) continue
    const pieces = part.claims.restsOn(peer)
    if (pieces.length > 0) return { suspect: peer, pieces, cleared: part.suspects.at(-1) }
  }
  return undefined
}
