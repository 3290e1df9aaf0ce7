import { parseDocument } from 'yaml'
import { StarlingError } from '../../errors.ts'
import { parseGlob } from './glob.ts'
import { createPolicy, type Policy, type Rule, type Subject } from './policy.ts'
import { ACTIONS, type Action, isUserName } from './principal.ts'

/** All rules are looked at for a request that none of them matches. */
const MAX_RULES = 1_000

/**
 * Reads a policy:
 *
 * ```yaml
 * groups:
 *   ci: [robot, deployer]
 * repositories:
 *   '**': { pull: [group:users] }
 *   'team/**':
 *     pull: [group:everyone]
 *     push: [group:ci, ann]
 *     delete: [ann]
 * ```
 *
 * `group:users` is every user, `group:everyone` also those who do not log in, as far as the
 * anonymous switch lets them.
 *
 * @throws `CONFIG_INVALID` naming all that is wrong: a slip must not open or close a door unseen
 */
export function parsePolicy(text: string): Policy {
  const problems: string[] = []
  const document = mapping(readYaml(text, problems), 'the file', problems)
  only(document, ['groups', 'repositories'], 'the file', problems)
  const groups = new Map<string, ReadonlySet<string>>()
  for (const [name, members] of entries(document.get('groups'), 'groups', problems)) {
    if (!isUserName(name) || BUILT_IN.has(name)) problems.push(`groups: ${quote(name)} is no name`)
    groups.set(name, new Set(names(members, `groups.${name}`, problems)))
  }
  const rules: Rule[] = []
  for (const [pattern, rule] of entries(document.get('repositories'), 'repositories', problems)) {
    const parsed = parseRule(pattern, rule, groups, problems)
    if (parsed !== undefined) rules.push(parsed)
  }
  if (rules.length > MAX_RULES) problems.push(`repositories: more than ${MAX_RULES} patterns`)
  if (problems.length === 0) return createPolicy({ groups, rules })
  throw new StarlingError('CONFIG_INVALID', problems.join('\n'), { detail: problems })
}

type Mapping = ReadonlyMap<string, unknown>

const BUILT_IN: ReadonlyMap<string, Subject> = new Map([
  ['everyone', { kind: 'everyone' }],
  ['users', { kind: 'users' }]
])

function readYaml(text: string, problems: string[]): unknown {
  try {
    const document = parseDocument(text)
    const [error] = document.errors
    if (error === undefined) return document.toJS({ mapAsMap: true })
    problems.push(firstLine(error))
  } catch (error) {
    // An alias of nothing, or so many of them that it looks like an attack.
    problems.push(firstLine(error))
  }
  return undefined
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
}

function parseRule(
  pattern: string,
  rule: unknown,
  groups: ReadonlyMap<string, unknown>,
  problems: string[]
): Rule | undefined {
  const where = `repositories.${pattern}`
  const glob = parseGlob(pattern)
  if (glob === undefined) {
    problems.push(`${where}: expected a repository name, with "*" and "**" as wildcards`)
  }
  const actions = mapping(rule, where, problems)
  only(actions, ACTIONS, where, problems)
  const allowedTo = (action: Action) =>
    names(actions.get(action), `${where}.${action}`, problems).flatMap(
      name => parseSubject(name, groups, `${where}.${action}`, problems) ?? []
    )
  const allowed = {
    pull: allowedTo('pull'),
    push: allowedTo('push'),
    delete: allowedTo('delete')
  }
  return glob && { pattern: glob, allowed }
}

/** A group is written with its prefix, which no user name can have. */
function parseSubject(
  name: string,
  groups: ReadonlyMap<string, unknown>,
  where: string,
  problems: string[]
): Subject | undefined {
  const [, group] = /^group:(.*)$/s.exec(name) ?? []
  if (group === undefined) {
    if (isUserName(name)) return { kind: 'user', name }
    problems.push(`${where}: ${quote(name)} is no user name`)
    return undefined
  }
  const builtIn = BUILT_IN.get(group)
  if (builtIn !== undefined) return builtIn
  if (groups.has(group)) return { kind: 'group', name: group }
  problems.push(`${where}: there is no group ${quote(group)}`)
  return undefined
}

function entries(value: unknown, where: string, problems: string[]): Iterable<[string, unknown]> {
  return value === undefined || value === null ? [] : mapping(value, where, problems).entries()
}

function mapping(value: unknown, where: string, problems: string[]): Mapping {
  if (value instanceof Map && [...value.keys()].every(key => typeof key === 'string')) return value
  problems.push(`${where}: expected a mapping`)
  return new Map()
}

function names(value: unknown, where: string, problems: string[]): readonly string[] {
  if (value === undefined || value === null) return []
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  const texts = list.filter(name => typeof name === 'string')
  if (texts.length !== list.length) problems.push(`${where}: expected a list of names`)
  return texts
}

function only(found: Mapping, known: readonly string[], where: string, problems: string[]): void {
  for (const key of found.keys()) {
    if (!known.includes(key)) {
      problems.push(`${where}: ${quote(key)} is none of ${known.join(', ')}`)
    }
  }
}

function quote(text: string): string {
  return JSON.stringify(text)
}
