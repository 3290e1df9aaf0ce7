import type { Digest } from '../digest.ts'
import type { RefusedDial } from '../mesh/discovery.ts'

/**
 * Whether this node is ready, as a pure state machine (design, section 8): its records are level
 * with every live member but those that exchange none for a minute, and it holds every blob that the records known at that moment call for
 * and a live member can give. Later pushes neither move that goal nor unset it.
 */
export type Readiness =
  | { readonly kind: 'seeking'; readonly sinceMs: number }
  | { readonly kind: 'filling'; readonly goal: ReadonlySet<Digest> }
  | { readonly kind: 'ready' }

export interface ReadinessFacts {
  readonly nowMs: number
  /** The longest time between two ticks since the last look: a large one means that we slept. */
  readonly gapMs: number
  /** Nothing is configured to be joined and no other member is known. */
  readonly nothingToJoin: boolean
  /** Discovery gave an answer, and it was nobody but this node. */
  readonly discoveredAlone: boolean
  /** Live members, and whether this node has stood level with each since it was last unset. */
  readonly live: readonly {
    readonly id: string
    readonly levelAtMs: number | undefined
    /** For how long it has been live and its records have not moved, towards standing level. */
    readonly stalledMs: number
  }[]
  /** Known members that are not heard now. */
  readonly away: number
  /** Where somebody was reached who does not let this node in. */
  readonly refusedBy: readonly RefusedDial[]
  /** Since when no member has been heard; `undefined` while some member is live or none is known. */
  readonly isolatedSinceMs: number | undefined
  /** Why this node can write no records, in words; `undefined` while it can. */
  readonly failure: string | undefined
  readonly missing: ReadonlyMap<Digest, unknown>
  /** Of the goal, what no live member can give. */
  readonly unavailable: (digest: Digest) => boolean
  /** What arrived for the goal may name more: the children of a manifest, once read. */
  readonly missingBelow: (digest: Digest) => Iterable<Digest>
  readonly deadAfterMs: number
  readonly aloneAfterMs: number
}

/** A member that beats and has exchanged no records for so long is as good as not there. */
const MAX_STALLED_MS = 60_000

export function startReadiness(nowMs: number): Readiness {
  return { kind: 'seeking', sinceMs: nowMs }
}

export function stepReadiness(state: Readiness, facts: ReadinessFacts): Readiness {
  const slept = facts.gapMs > facts.deadAfterMs
  const isolated =
    facts.isolatedSinceMs !== undefined &&
    facts.nowMs - facts.isolatedSinceMs > facts.deadAfterMs &&
    facts.nowMs - facts.isolatedSinceMs < facts.aloneAfterMs
  // Whoever slept has not been waiting: what came before it counts for nothing.
  if (slept) return startReadiness(facts.nowMs)
  // What cannot be written here is missed: once it can, every member has to be asked again.
  if (facts.failure !== undefined) return startReadiness(facts.nowMs)
  if (state.kind !== 'seeking' && isolated) {
    return startReadiness(facts.isolatedSinceMs ?? facts.nowMs)
  }
  switch (state.kind) {
    case 'seeking':
      return isLevel(state.sinceMs, facts) ? fill(new Set(facts.missing.keys()), facts) : state
    case 'filling':
      return fill(state.goal, facts)
    case 'ready':
      return state
  }
}

/** The reason in words, for people and for `/readyz`. */
export function explainReadiness(state: Readiness, facts: ReadinessFacts): string {
  if (facts.failure !== undefined) return facts.failure
  switch (state.kind) {
    case 'ready':
      return 'ready'
    case 'filling':
      return `waiting for ${state.goal.size} of the blobs that were known when the records were last level`
    case 'seeking': {
      if (facts.live.length === 0) {
        const leftMs = Math.max(0, facts.aloneAfterMs - (facts.nowMs - state.sinceMs))
        const who = facts.away > 0 ? 'all other nodes are away' : 'no other node has been reached'
        const then = `pushes are taken alone after ${Math.ceil(leftMs / 1000)} s more`
        return [who, ...refusalWords(facts.refusedBy), then].join('; ')
      }
      const behind = facts.live.filter(({ levelAtMs }) => !isSince(levelAtMs, state.sinceMs))
      return `records not yet level with ${behind.length} of ${facts.live.length} live members`
    }
  }
}

/** So many addresses are named; a name that resolves to a whole cluster gives one for each node. */
const MAX_NAMED = 3

function refusalWords(refusedBy: readonly RefusedDial[]): string[] {
  const named = refusedBy.slice(0, MAX_NAMED)
  const words = named.map(({ address, reason }) => `${address} refuses this node: ${reason}`)
  const more = refusedBy.length - named.length
  return more > 0 ? [...words, `${more} more refuse it`] : words
}

function isLevel(sinceMs: number, facts: ReadinessFacts): boolean {
  if (facts.live.length > 0) {
    return facts.live.every(
      ({ levelAtMs, stalledMs }) =>
        isSince(levelAtMs, sinceMs) || Math.min(stalledMs, facts.nowMs - sinceMs) >= MAX_STALLED_MS
    )
  }
  return facts.nothingToJoin || facts.discoveredAlone || facts.nowMs - sinceMs >= facts.aloneAfterMs
}

/** Whether something was so at or after a time. */
export function isSince(levelAtMs: number | undefined, sinceMs: number): boolean {
  return levelAtMs !== undefined && levelAtMs >= sinceMs
}

/** Keeps of the goal what is still missing and can be had; with nothing left the node is ready. */
function fill(goal: ReadonlySet<Digest>, facts: ReadinessFacts): Readiness {
  const left = new Set<Digest>()
  for (const digest of goal) {
    if (!facts.missing.has(digest)) {
      for (const child of facts.missingBelow(digest)) left.add(child)
    } else if (!facts.unavailable(digest)) {
      left.add(digest)
    }
  }
  return left.size === 0 ? { kind: 'ready' } : { kind: 'filling', goal: left }
}
