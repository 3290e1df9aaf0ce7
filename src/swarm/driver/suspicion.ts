import type { Part } from './part.ts'

/** Each costs the fetching of the pieces in dispute; beyond it the blob comes another way. */
const MAX_SUSPICIONS = 8

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
 * was the liar. Disputes show only as the neighbours announce their pieces, so that each may have
 * its turn again. `undefined` when no list is in dispute, or this goes on for too long.
 */
export function suspect({ claims, suspects }: Part): Verdict | undefined {
  if (suspects.length >= MAX_SUSPICIONS) return undefined
  const turns = (peer: string) => suspects.filter(each => each === peer).length
  for (const peer of claims.suspects().sort((a, b) => turns(a) - turns(b))) {
    const pieces = claims.restsOn(peer)
    const cleared = suspects.at(-1)
    if (pieces.length > 0 && peer !== cleared) return { suspect: peer, pieces, cleared }
  }
  return undefined
}
