import { bySpecificity, type Glob, matchesGlob } from './glob.ts'
import type { Action } from './principal.ts'

/** Who may do what in which repositories. */
export interface Policy {
  readonly groups: ReadonlyMap<string, ReadonlySet<string>>
  /** The most specific first. */
  readonly rules: readonly Rule[]
}

/** Who may do what in the repositories that a pattern matches. */
export interface Rule {
  readonly pattern: Glob
  readonly allowed: Readonly<Record<Action, readonly Subject[]>>
}

export type Subject =
  /** Also who does not say who they are. */
  | { readonly kind: 'everyone' }
  /** Who proves to be some user. */
  | { readonly kind: 'users' }
  | { readonly kind: 'user'; readonly name: string }
  | { readonly kind: 'group'; readonly name: string }

/** A policy with its rules in order; of equally specific ones the first given stays first. */
export function createPolicy(policy: Policy): Policy {
  return { ...policy, rules: policy.rules.toSorted((a, b) => bySpecificity(a.pattern, b.pattern)) }
}

/** What holds when no policy is given: everyone may do all, as far as they are let in. */
export function openPolicy(): Policy {
  const pattern = { text: '**', segments: ['**'] }
  const everyone = [{ kind: 'everyone' }] as const
  return {
    groups: new Map(),
    rules: [{ pattern, allowed: { pull: everyone, push: everyone, delete: everyone } }]
  }
}

/**
 * Whether somebody may do something in a repository. The most specific rule that matches its name
 * decides alone; where none matches, nobody may do anything.
 *
 * @param user `undefined` for a client that did not say who it is
 */
export function allows(
  policy: Policy,
  user: string | undefined,
  action: Action,
  repository: string
): boolean {
  const rule = policy.rules.find(({ pattern }) => matchesGlob(pattern, repository))
  return rule !== undefined && isAmong(policy, user, rule.allowed[action])
}

/** Whether somebody may do something in every repository there could be. */
export function allowsEverywhere(
  policy: Policy,
  user: string | undefined,
  action: Action
): boolean {
  return (
    policy.rules.some(({ pattern }) => pattern.text === '**') &&
    policy.rules.every(rule => isAmong(policy, user, rule.allowed[action]))
  )
}

function isAmong(policy: Policy, user: string | undefined, subjects: readonly Subject[]): boolean {
  return subjects.some(subject => takesIn(subject, user, policy))
}

function takesIn(subject: Subject, user: string | undefined, { groups }: Policy): boolean {
  switch (subject.kind) {
    case 'everyone':
      return true
    case 'users':
      return user !== undefined
    case 'user':
      return user === subject.name
    case 'group':
      return user !== undefined && groups.get(subject.name)?.has(user) === true
  }
}
