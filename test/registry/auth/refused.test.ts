import assert from 'node:assert/strict'
import { test } from 'node:test'
import { basic, htpasswd, openGuarded } from './fixture.ts'

const USERS = htpasswd({ ann: 'a', bob: 'b' })
const RULES = "repositories: { 'team/**': { pull: [ann, bob], push: [ann] } }"

test('who is refused is told who may not do what, or what is wrong with the credentials', async t => {
  const registry = await openGuarded(t, { users: USERS, rules: RULES })
  const wordsOf = async (headers: Record<string, string>) => {
    const path = '/v2/team/app/blobs/uploads/'
    const response = await fetch(registry.url + path, { method: 'POST', headers })
    const { errors } = (await response.json()) as { errors: { message: string }[] }
    return errors[0]?.message
  }
  assert.equal(await wordsOf(basic('bob', 'b')), 'bob may not push to team/app')
  assert.equal(await wordsOf(basic('bob', 'c')), 'credentials are needed and these are wrong')
  assert.equal(await wordsOf({}), 'credentials are needed and none were given')
})
