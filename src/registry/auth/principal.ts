/** What may be done in a repository. To list its tags and referrers is to pull. */
export type Action = 'pull' | 'push' | 'delete'

export const ACTIONS: readonly Action[] = ['pull', 'push', 'delete']

/** Who asks, and how that is known. */
export interface Principal {
  /** `undefined` for a client that did not say who it is. */
  readonly user: string | undefined
  readonly via: 'nothing' | 'password' | 'token' | 'certificate'
  /** What a token narrows its bearer to; without it there are all the rights of the user. */
  readonly scope?: Scope
}

/** What may be done, and with what, as a token says it. */
export type Scope = readonly Grant[]

export type Grant =
  | { readonly type: 'repository'; readonly name: string; readonly actions: readonly Action[] }
  | { readonly type: 'registry'; readonly name: 'catalog'; readonly actions: readonly ['*'] }

export const NOBODY: Principal = { user: undefined, via: 'nothing' }

/** User names are logged, and a colon would end them in HTTP Basic. */
const USER = /^[^\p{Cc}\p{Zl}\p{Zp}:\\]{1,255}$/u

/** Whether a text can be the name of a user: 1 to 255 characters, no control characters, ":" or "\". */
export function isUserName(text: string): boolean {
  return USER.test(text)
}

/** Whether a token's scope takes in an action; all does where there is no token. */
export function inScope(principal: Principal, action: Action, repository: string): boolean {
  return (
    principal.scope?.some(
      grant =>
        grant.type === 'repository' && grant.name === repository && grant.actions.includes(action)
    ) ?? true
  )
}

/** As {@link inScope}, for the list of repositories. */
export function catalogInScope(principal: Principal): boolean {
  return principal.scope?.some(({ type }) => type === 'registry') ?? true
}
