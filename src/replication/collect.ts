import type { Digest } from '../digest.ts'

/**
 * Which of the blobs held here may go, as pure state (design section 5, "Collection"). Deciding
 * takes two phases: a blob that nothing calls for becomes a candidate, and may be swept once it has
 * been one without interruption for a grace, if the node can trust its own view by then.
 */

/** What speaks for a blob. */
export type Claim =
  /** A live link reaches it. */
  | { readonly kind: 'linked' }
  /** A lease does; `leftMs` where the lease is on the blob itself. */
  | { readonly kind: 'leased'; readonly leftMs: number | undefined }
  /** A request is working with it. */
  | { readonly kind: 'used' }
  | { readonly kind: 'none' }

export interface Decision {
  /** `wait`: a candidate whose time has not come. */
  readonly kind: 'keep' | 'wait' | 'sweep'
  readonly reason: string
}

/** Times are of the node's own running time. */
export interface CandidateFacts {
  readonly nowMs: number
  /** How long nothing may have called for a blob that is swept. */
  readonly graceMs: number
}

/** What this node knows of itself and the others. */
export interface NodeFacts {
  readonly nowMs: number
  /** Nothing is swept until this moment: what was written while it was down is yet to be heard. */
  readonly quietUntilMs: number
  readonly ready: boolean
  readonly unreadableRecords: number
  /** Manifests that are called for and may yet come: what they name is not known. */
  readonly unreadManifests: number
  /** The other members, without those gone. */
  readonly others: number
  readonly liveOthers: number
  /** Of them, those whose records were brought level with ours a moment ago. */
  readonly levelOthers: number
}

/** With so many members level, a record that this node lacks would have to be unknown to all. */
const LEVEL_ENOUGH = 2

/** Why nothing may be swept now, in words; empty when something may. */
export function obstacles(facts: NodeFacts): readonly string[] {
  const { nowMs, quietUntilMs, ready, unreadableRecords, unreadManifests } = facts
  const { others, liveOthers, levelOthers } = facts
  const found: string[] = []
  if (!ready) found.push('this node is not ready')
  if (unreadableRecords > 0) {
    found.push(`${unreadableRecords} records are of a later version and may call for any blob`)
  }
  if (unreadManifests > 0) {
    found.push(`${unreadManifests} manifests are yet to come and may name any blob`)
  }
  const heard = liveOthers + 1
  const members = others + 1
  if (heard * 2 <= members) {
    found.push(`only ${heard} of ${members} members are heard, which may be a partition`)
  }
  const needed = Math.min(LEVEL_ENOUGH, liveOthers)
  if (levelOthers < needed) {
    found.push(`the records are level with ${levelOthers} members, ${needed} are needed`)
  }
  if (nowMs < quietUntilMs) {
    found.push(
      `nothing is swept for one lease time after a start: ${words(quietUntilMs - nowMs)} left`
    )
  }
  return found
}

/** The candidates and since when each has been one. */
export class Candidates {
  readonly #sinceMs = new Map<Digest, number>()

  get size(): number {
    return this.#sinceMs.size
  }

  /** Takes in what speaks for a held blob at this moment, and decides. */
  look(digest: Digest, claim: Claim, { nowMs, graceMs }: CandidateFacts): Decision {
    if (claim.kind !== 'none') {
      this.#sinceMs.delete(digest)
      return { kind: 'keep', reason: wordsOf(claim) }
    }
    const sinceMs = this.#sinceMs.get(digest) ?? nowMs
    this.#sinceMs.set(digest, sinceMs)
    const unwantedMs = nowMs - sinceMs
    const reason = `nothing has called for it for ${words(unwantedMs)}`
    if (unwantedMs >= graceMs) return { kind: 'sweep', reason }
    return {
      kind: 'wait',
      reason: `${reason}, and must not for ${words(graceMs - unwantedMs)} more`
    }
  }

  /** Somebody called for the blob, be it for a moment; or it is held no more. */
  forget(digest: Digest): void {
    this.#sinceMs.delete(digest)
  }
}

function wordsOf(claim: Exclude<Claim, { kind: 'none' }>): string {
  switch (claim.kind) {
    case 'linked':
      return 'an image needs it'
    case 'leased':
      return claim.leftMs === undefined
        ? 'leased with the manifest that names it'
        : `leased to a push for ${words(claim.leftMs)} more`
    case 'used':
      return 'a request is working with it'
  }
}

function words(ms: number): string {
  const seconds = Math.ceil(ms / 1_000)
  if (seconds < 120) return `${seconds} s`
  if (seconds < 2 * 3_600) return `${Math.ceil(seconds / 60)} min`
  return `${Math.ceil(seconds / 3_600)} h`
}
