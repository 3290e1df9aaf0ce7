import type { Digest } from '../../src/digest.ts'

/** One thing that one client did to one tag through one node, in milliseconds of one clock. */
export interface Operation {
  readonly client: number
  /** Name of the node it went to. */
  readonly node: string
  readonly tag: string
  readonly startMs: number
  readonly endMs: number
  readonly action: Action
}

export type Action = Push | Delete | Pull

export interface Push {
  readonly kind: 'push'
  readonly digest: Digest
  readonly outcome: WriteOutcome
}

export interface Delete {
  readonly kind: 'delete'
  readonly outcome: WriteOutcome
}

export interface Pull {
  readonly kind: 'pull'
  readonly found: Found
}

/**
 * `done`: answered without a `Warning`, so that every promise holds. `warned`: answered with one.
 * `refused`: it certainly changed nothing. `unknown`: it may have, now or later.
 */
export type WriteOutcome = 'done' | 'warned' | 'refused' | 'unknown'

export type Found =
  /** The manifest, and every blob it names with the right bytes. */
  | { readonly kind: 'image'; readonly digest: Digest }
  /** The registry said that there is no such tag. */
  | { readonly kind: 'absent' }
  /** The manifest was given, then a blob of it was not there or was not what its digest says. */
  | { readonly kind: 'half' | 'wrong'; readonly digest: Digest; readonly detail: string }
  /** No answer, or 5xx: nothing is learnt. */
  | { readonly kind: 'nothing' }

/** A time in which a node did not run or could not hear the others, and so may answer from what it has (P4). */
export interface Isolation {
  readonly node: string
  readonly startMs: number
  readonly endMs: number
}

/** A moment from which on nothing is left of what a node had held. */
export interface Wipe {
  readonly node: string
  readonly atMs: number
}

/** All that was done, and what stood in the way. */
export interface History {
  readonly operations: readonly Operation[]
  readonly isolations: readonly Isolation[]
  readonly wipes: readonly Wipe[]
}
