/** One run of a process under an id, and how far its heartbeats have come. */
export interface Life {
  /** Random, new at each start. */
  readonly boot: string
  /** Wall clock of the node at its start; clocks of machines differ and may go back. */
  readonly bootedAt: number
  readonly sequence: number
}

/** Past boots remembered for each member: more than anyone relays at once. */
const MAX_PAST_BOOTS = 8

/**
 * Whether a sign of life says something new: `newer` than what is known, just what was `seen`, or
 * `older`: a straggler of this boot or of one left behind.
 */
export function freshness(
  known: Life | undefined,
  pastBoots: readonly string[],
  sign: Life
): 'newer' | 'seen' | 'older' {
  if (known === undefined) return 'newer'
  if (known.boot === sign.boot) {
    if (sign.sequence === known.sequence) return 'seen'
    return sign.sequence > known.sequence ? 'newer' : 'older'
  }
  // A boot known to be past stays past, even when the wall clock went back between the two.
  if (pastBoots.includes(sign.boot)) return 'older'
  return startedLater(sign, known) ? 'newer' : 'older'
}

/** A total order of two boots that all nodes agree on. */
export function startedLater(a: Life, b: Life): boolean {
  return a.bootedAt > b.bootedAt || (a.bootedAt === b.bootedAt && a.boot > b.boot)
}

/** The past boots once `ended` gave way to `current`. */
export function superseded(
  pastBoots: readonly string[],
  ended: string,
  current: string
): readonly string[] {
  return [...pastBoots.filter(boot => boot !== current && boot !== ended), ended].slice(
    -MAX_PAST_BOOTS
  )
}
