import { tryRepository } from '../names.ts'
import { ACTIONS, type Action, type Grant, type Scope } from './principal.ts'

/** Something a client asks a token for. */
export type Wish =
  | { readonly type: 'repository'; readonly name: string; readonly actions: readonly Action[] }
  | { readonly type: 'registry' }

/** A client asks for a repository or two; the token must fit into a header. */
const MAX_WISHES = 32

/**
 * Reads scopes such as `repository:team/app:pull,push` and `registry:catalog:*`, several in one
 * text with spaces between them. What is none of these, or asks for what there is not, is left out:
 * a token may always grant less than was asked for.
 */
export function parseScopes(texts: readonly string[]): readonly Wish[] {
  return texts
    .flatMap(text => text.split(' '))
    .flatMap(text => parseScope(text) ?? [])
    .slice(0, MAX_WISHES)
}

/** What of the wishes may be granted. */
export function grant(
  wishes: readonly Wish[],
  allowed: { may(action: Action, repository: string): boolean; readonly mayList: boolean }
): Scope {
  return wishes.flatMap((wish): Grant[] => {
    if (wish.type === 'registry') {
      return allowed.mayList ? [{ type: 'registry', name: 'catalog', actions: ['*'] }] : []
    }
    const actions = wish.actions.filter(action => allowed.may(action, wish.name))
    return actions.length > 0 ? [{ ...wish, actions }] : []
  })
}

/** Scopes as they are written in an answer. */
export function formatScope(scope: Scope): string {
  return scope.map(({ type, name, actions }) => `${type}:${name}:${actions.join(',')}`).join(' ')
}

function parseScope(text: string): Wish | undefined {
  if (text === 'registry:catalog:*') return { type: 'registry' }
  const [, name = '', asked = ''] = /^repository(?:\([^()]*\))?:([^:]*):([^:]*)$/.exec(text) ?? []
  if (tryRepository(name) === undefined) return undefined
  const words = asked.split(',')
  const actions = words.includes('*') ? ACTIONS : ACTIONS.filter(action => words.includes(action))
  return { type: 'repository', name, actions }
}
