import type { Digest } from './digest.ts'

/** A change and its time: what a node remembers, and a line of `GET /events`, as JSON. */
export type Happening = Change & {
  /** When this node heard of it, by its own wall clock, as RFC 3339 has it. */
  readonly at: string
}

/** Something that changed, as a node heard of it. */
export type Change =
  | {
      readonly kind: 'tag'
      readonly repository: string
      readonly tag: string
      readonly digest: Digest
      /** What it pointed at; `null` for a new tag. */
      readonly before: Digest | null
      /** Whether two nodes moved it without knowing of each other. */
      readonly conflict: boolean
    }
  | {
      readonly kind: 'untag'
      readonly repository: string
      readonly tag: string
      readonly before: Digest
    }
  | {
      readonly kind: 'manifest' | 'manifest-deleted'
      readonly repository: string
      readonly digest: Digest
    }
  | {
      readonly kind: 'member'
      readonly id: string
      readonly name: string
      readonly state: 'live' | 'away' | 'gone'
    }
  /** The reader was too slow: so many changes are not told. */
  | { readonly kind: 'left-out'; readonly changes: number }
