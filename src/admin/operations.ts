import type { Digest } from '../digest.ts'

/**
 * What the user who runs a node may have it do. It is offered on the control socket only, whose file
 * lets nobody else in. Implemented where the parts are joined.
 */
export interface Operations {
  collect(mode: CollectionMode): Promise<CollectionDocument>
  /** Progress, and last the outcome; ends early when it is not iterated to the end. */
  verify(): AsyncIterable<VerificationLine>
  /** Makes the members of a name that are not live gone for good. */
  forget(name: string): Promise<ForgottenDocument>
}

/** What `POST /forget` answers: who is forgotten, or why nobody is. */
export type ForgottenDocument =
  | { readonly kind: 'forgotten'; readonly ids: readonly string[] }
  | { readonly kind: 'live' | 'unknown' }

export interface CollectionMode {
  /** Decide and explain, and change nothing. */
  readonly dryRun: boolean
  /** Do not stay quiet for one lease time after a start. */
  readonly now: boolean
}

/** What `POST /collect` answers. */
export interface CollectionDocument {
  readonly dryRun: boolean
  /** Why nothing may be removed, in words; empty when something may. */
  readonly obstacles: readonly string[]
  readonly kept: BlobSum
  /** Called for by nothing, and not yet for long enough. */
  readonly waiting: BlobSum
  /** Called for by nothing for long enough: removed, unless something is in the way. */
  readonly due: BlobSum
  readonly swept: BlobSum
  /**
   * Every decision but those on blobs that an image needs, as far as they fit; of a dry run also
   * the images that no tag points at.
   */
  readonly explained: readonly ExplainedBlob[]
  /** How many more there are. */
  readonly unexplained: number
}

export interface BlobSum {
  readonly blobs: number
  readonly bytes: number
}

export interface ExplainedBlob {
  readonly digest: Digest
  readonly bytes: number
  readonly decision: 'keep' | 'wait' | 'sweep'
  readonly reason: string
}

/** One of the lines that `POST /verify` answers, each a JSON object. */
export type VerificationLine = VerificationProgress | VerificationOutcome

export interface VerificationProgress {
  readonly kind: 'progress'
  readonly blobs: number
  readonly bytes: number
  readonly totalBlobs: number
  readonly totalBytes: number
  readonly damaged: number
}

export interface VerificationOutcome {
  readonly kind: 'outcome'
  readonly blobs: number
  readonly bytes: number
  /** Found damaged or missing, and what became of them. */
  readonly damaged: readonly DamagedBlob[]
  /** Could not be read for a reason that is not theirs. */
  readonly unchecked: readonly Digest[]
}

export interface DamagedBlob {
  readonly digest: Digest
  /** Fetched again; not to be had now; on its way; or needed by nothing. */
  readonly healing: 'healed' | 'lost' | 'pending' | 'unneeded'
}
