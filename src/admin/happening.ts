import type { Digest } from '../digest.ts'

/** One of the lines that `GET /events` answers, each a JSON object: what a node heard of. */
export type HappeningDocument = ChangeDocument & {
  /** When this node heard of it, by its own clock, as RFC 3339 has it. */
  readonly at: string
}

export type ChangeDocument =
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

/** A change for people, in one line without its time. */
export function renderChange(change: ChangeDocument): string {
  switch (change.kind) {
    case 'tag': {
      const moved = change.before === null ? '' : `, was ${change.before}`
      const twice = change.conflict ? ' (moved on two nodes at once)' : ''
      return `tag       ${change.repository}:${change.tag} is ${change.digest}${moved}${twice}`
    }
    case 'untag':
      return `untag     ${change.repository}:${change.tag} was ${change.before}`
    case 'manifest':
      return `manifest  ${change.repository}@${change.digest}`
    case 'manifest-deleted':
      return `deleted   ${change.repository}@${change.digest}`
    case 'member':
      return `member    ${change.name} is ${change.state} (${change.id})`
    case 'left-out':
      return `left out  ${change.changes} changes, which came too fast`
  }
}
