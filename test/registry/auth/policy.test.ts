import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isCode } from '../../../src/errors.ts'
import { matchesGlob, parseGlob } from '../../../src/registry/auth/glob.ts'
import { allows, allowsEverywhere, openPolicy } from '../../../src/registry/auth/policy.ts'
import { parsePolicy } from '../../../src/registry/auth/policy-file.ts'

const POLICY = parsePolicy(`
groups:
  ci: [robot, deployer]
repositories:
  '**': { pull: [group:users] }
  'public/**': { pull: [group:everyone], push: 'group:ci' }
  'public/*/private':
    pull: [ann]
  'team/app': { pull: [ann], push: [ann, group:ci], delete: [ann] }
`)

test('patterns match whole segments with ** and parts of one with *', () => {
  const cases: Readonly<Record<string, { yes: string[]; no: string[] }>> = {
    '**': { yes: ['a', 'a/b', 'a/b/c'], no: [] },
    '*': { yes: ['a', 'abc'], no: ['a/b'] },
    'team/**': { yes: ['team/a', 'team/a/b'], no: ['team', 'teams/a', 'a/team/b'] },
    '**/nginx': { yes: ['nginx', 'a/nginx', 'a/b/nginx'], no: ['xnginx', 'nginx/a'] },
    'a/**/z': { yes: ['a/z', 'a/b/z', 'a/b/c/z'], no: ['a', 'z', 'a/b'] },
    'team/*': { yes: ['team/a'], no: ['team', 'team/a/b'] },
    'team/app-*': { yes: ['team/app-1', 'team/app-'], no: ['team/app', 'team/app-1/x'] },
    'a.b': { yes: ['a.b'], no: ['axb'] }
  }
  for (const [text, { yes, no }] of Object.entries(cases)) {
    for (const name of yes) assert.ok(matches(text, name), `${text} ${name}`)
    for (const name of no) assert.ok(!matches(text, name), `${text} ${name}`)
  }
  for (const text of ['', '/a', 'a/', 'a//b', 'A', 'a**', '**b/c', 'a b', 'a'.repeat(256)]) {
    assert.equal(parseGlob(text), undefined, text)
  }
})

test('patterns match as the same regular expression would', () => {
  const part = fc.stringMatching(/^[ab*]{1,3}$/).filter(text => !text.includes('**'))
  const pattern = fc.array(fc.oneof(part, fc.constant('**')), { minLength: 1, maxLength: 5 })
  const name = fc.array(fc.stringMatching(/^[ab]{1,3}$/), { minLength: 1, maxLength: 5 })
  fc.assert(
    fc.property(pattern, name, (segments, parts) => {
      const [text, subject] = [segments.join('/'), parts.join('/')]
      assert.equal(matches(text, subject), expression(segments).test(`/${subject}`), text)
    }),
    { numRuns: 2_000 }
  )
})

test('a pattern made to be slow is not', () => {
  const glob = parseGlob(`${'*a'.repeat(100)}*b`)
  assert.ok(glob !== undefined && !matchesGlob(glob, 'a'.repeat(255)))
})

test('the most specific rule decides alone, and nothing is allowed that no rule allows', () => {
  const may = (user: string | undefined, action: 'pull' | 'push' | 'delete', name: string) =>
    allows(POLICY, user, action, name)
  assert.ok(may('bob', 'pull', 'other'))
  assert.ok(!may('bob', 'push', 'other'))
  assert.ok(!may(undefined, 'pull', 'other'))
  assert.ok(may(undefined, 'pull', 'public/nginx'))
  assert.ok(!may(undefined, 'push', 'public/nginx'))
  assert.ok(may('robot', 'push', 'public/nginx'))
  assert.ok(!may('bob', 'push', 'public/nginx'))
  assert.ok(may('ann', 'pull', 'public/x/private'))
  assert.ok(!may('bob', 'pull', 'public/x/private'))
  assert.ok(!may('bob', 'pull', 'team/app'))
  assert.ok(may('ann', 'delete', 'team/app'))
  assert.ok(may('deployer', 'push', 'team/app'))
  assert.ok(!may('deployer', 'delete', 'team/app'))
  const narrow = parsePolicy("repositories: { 'a/*': { pull: [group:everyone] } }")
  assert.ok(!allows(narrow, 'ann', 'pull', 'b'))
  assert.ok(!allows(parsePolicy('{}'), 'ann', 'pull', 'a'))
})

test('of equally specific patterns that with fewer wildcards decides, then the first in the file', () => {
  const rule = (user: string) => `{ pull: [${user}] }`
  const of = (...patterns: string[]) =>
    parsePolicy(`repositories:\n${patterns.map((p, i) => `  '${p}': ${rule(`u${i}`)}\n`).join('')}`)
  const decides = (policy: ReturnType<typeof of>, name: string) =>
    ['u0', 'u1'].filter(user => allows(policy, user, 'pull', name))
  assert.deepEqual(decides(of('a/**', 'a/*'), 'a/b'), ['u1'])
  assert.deepEqual(decides(of('*/b*', '*/b'), 'a/b'), ['u1'])
  assert.deepEqual(decides(of('a*/b', '*a/b'), 'a/b'), ['u0'])
})

test('everything may be done everywhere only if every rule says so', () => {
  assert.ok(allowsEverywhere(openPolicy(), undefined, 'delete'))
  assert.ok(!allowsEverywhere(POLICY, 'bob', 'pull'))
  const all = "'**': { pull: [ann, bob] }"
  assert.ok(allowsEverywhere(parsePolicy(`repositories: { ${all} }`), 'bob', 'pull'))
  const but = "'x': { pull: [ann] }"
  assert.ok(!allowsEverywhere(parsePolicy(`repositories: { ${all}, ${but} }`), 'bob', 'pull'))
  assert.ok(!allowsEverywhere(parsePolicy(`repositories: { ${but} }`), 'ann', 'pull'))
})

test('a slip in the file is named instead of opening or closing a door unseen', () => {
  const problems = problemsOf(`
groups:
  everyone: [ann]
  ok: [1]
repositories:
  'Team/*': { pull: [ann] }
  'a': { pulls: [ann], push: [group:none], delete: ['a:b'] }
  'b': [ann]
rules: {}
`)
  assert.deepEqual(problems, [
    'the file: "rules" is none of groups, repositories',
    'groups: "everyone" is no name',
    'groups.ok: expected a list of names',
    'repositories.Team/*: expected a repository name, with "*" and "**" as wildcards',
    'repositories.a: "pulls" is none of pull, push, delete',
    'repositories.a.push: there is no group "none"',
    'repositories.a.delete: "a:b" is no user name',
    'repositories.b: expected a mapping'
  ])
  for (const text of ['[', '- a', 'text', 'a: 1\na: 2', '? [a]\n: b', 'repositories: *x']) {
    assert.ok(problemsOf(text).length > 0, text)
  }
})

test('any text is a policy or refused', () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'repositories:',
      'groups:',
      '\n  ',
      "'**':",
      ' { pull: [a] }',
      '*a',
      '&a ',
      '- '
    )
  )
  fc.assert(
    fc.property(fc.array(piece), pieces => {
      try {
        parsePolicy(pieces.join(''))
      } catch (error) {
        assert.ok(isCode(error, 'CONFIG_INVALID'), String(error))
      }
    })
  )
})

function matches(text: string, name: string): boolean {
  const glob = parseGlob(text)
  assert.ok(glob !== undefined, text)
  return matchesGlob(glob, name)
}

/** For a name with a slash before it. */
function expression(segments: readonly string[]): RegExp {
  const parts = segments.map((segment, at) => {
    if (segment !== '**') return `/${segment.replaceAll('*', '[^/]*')}`
    return at === segments.length - 1 ? '(/[^/]+)+' : '(/[^/]+)*'
  })
  return new RegExp(`^${parts.join('')}$`)
}

function problemsOf(text: string): readonly string[] {
  try {
    parsePolicy(text)
  } catch (error) {
    if (isCode(error, 'CONFIG_INVALID')) return error.message.split('\n')
    throw error
  }
  assert.fail(`it was accepted: ${text}`)
}
