import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { isCode } from '../../../src/errors.ts'
import { parseHtpasswd } from '../../../src/registry/auth/htpasswd.ts'

const HASH = '$2a$10$uB2nes4KCyP1cmuDnN2dHOYoct3DSCY7j/hgJiqKRnkqqFD8xNlEW'
const OTHER = HASH.replace('$2a$', '$2y$')

test('lines end with a newline, or with the two characters that a quoted YAML value has for one', () => {
  const expected = new Map([
    ['zarf-push', [HASH]],
    ['zarf-pull', [OTHER]]
  ])
  for (const end of ['\n', '\r\n', '\\n']) {
    assert.deepEqual(parseHtpasswd(`zarf-push:${HASH}${end}zarf-pull:${OTHER}`), expected)
    assert.deepEqual(parseHtpasswd(`zarf-push:${HASH}${end}zarf-pull:${OTHER}${end}`), expected)
  }
})

test('empty lines and comments are passed over, and an empty file has no users', () => {
  assert.deepEqual(parseHtpasswd(`# users\n\n  ann:${HASH}  \n`), new Map([['ann', [HASH]]]))
  assert.deepEqual(parseHtpasswd(''), new Map())
})

test('a user with several lines has as many passwords', () => {
  assert.deepEqual(parseHtpasswd(`ann:${HASH}\nann:${OTHER}`).get('ann'), [HASH, OTHER])
  assert.deepEqual(problemsOf(`ann:${HASH}\n`.repeat(5)), [
    'line 5: expected at most 4 passwords for one user'
  ])
})

test('what is not bcrypt, or would take seconds, is refused by its line and without its text', () => {
  const sha1 = 'ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g='
  const slow = `bob:${HASH.replace('$10$', '$31$')}`
  const problems = problemsOf(`${sha1}\n${slow}\nplain:text\n:${HASH}\nno colon`)
  assert.deepEqual(
    problems.map(problem => problem.slice(0, 16)),
    ['line 1: expected', 'line 2: expected', 'line 3: expected', 'line 4: expected'].concat(
      'line 5: expected'
    )
  )
  assert.doesNotMatch(problems.join(), /W6ph5Mm5|text|uB2nes/)
})

test('of a file that is none of users, ten lines are named and the rest are counted', () => {
  assert.throws(() => parseHtpasswd('# x\nno colon\n'.repeat(30)), {
    message: /^line 2: expected user:hash\n(line .*\n){9}and 20 more$/
  })
})

test('any text is read or refused as a whole', () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('\\n', '\n', ':', '#', `a:${HASH}`, `b:${OTHER}`, '\r')
  )
  fc.assert(
    fc.property(fc.array(line), lines => {
      try {
        for (const [user, hashes] of parseHtpasswd(lines.join(''))) {
          assert.match(user, /^[^:\\\n]+$/)
          assert.ok(hashes.length > 0 && hashes.length <= 4)
        }
      } catch (error) {
        assert.ok(isCode(error, 'CONFIG_INVALID'))
      }
    })
  )
})

function problemsOf(text: string): readonly string[] {
  try {
    parseHtpasswd(text)
  } catch (error) {
    if (isCode(error, 'CONFIG_INVALID')) return error.message.split('\n')
    throw error
  }
  assert.fail('it was accepted')
}
