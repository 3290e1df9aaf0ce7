import type { Change } from '../happening.ts'

/** A change for people, in one line without its time. */
export function renderChange(change: Change): string {
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
