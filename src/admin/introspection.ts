import type { Digest } from '../digest.ts'
import type { Happening } from '../happening.ts'
import type { CopiesDocument, StatusDocument } from './status.ts'

/** What the outside may ask of a running node. Implemented where the parts are joined. */
export interface Introspection {
  readiness(): Readiness
  status(page: ImagePage): Promise<StatusDocument>
  /** Who holds an image; not known here is an answer too, since it may yet come. */
  copies(reference: ImageReference): Promise<CopiesDocument>
  /** What the node has heard of lately, oldest first. */
  past(): readonly Happening[]
  /** The same, and then what it hears of until the signal aborts. */
  follow(signal: AbortSignal): AsyncIterable<Happening>
  /** Metrics in the Prometheus text format. */
  metrics(): Promise<string>
}

export interface Readiness {
  readonly ready: boolean
  /** In words: what is waited for, or `ready`. */
  readonly reason: string
}

/** Which images of the sorted list a status shows. */
export interface ImagePage {
  /** At most so many; 0 for none. */
  readonly limit: number
  /** Those after this one, which need not exist. */
  readonly after?: { readonly repository: string; readonly tag: string }
}

/** `repository:tag` or `repository@digest`, parsed. */
export type ImageReference =
  | { readonly kind: 'tag'; readonly repository: string; readonly tag: string }
  | { readonly kind: 'digest'; readonly repository: string; readonly digest: Digest }
