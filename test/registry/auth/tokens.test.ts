import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Scope } from '../../../src/registry/auth/principal.ts'
import { grant, parseScopes } from '../../../src/registry/auth/scope.ts'
import { Tokens } from '../../../src/registry/auth/tokens.ts'
import { CLUSTER_KEY, ManualClock } from './fixture.ts'

const SCOPE: Scope = [
  { type: 'repository', name: 'team/app', actions: ['pull', 'push'] },
  { type: 'registry', name: 'catalog', actions: ['*'] }
]
const CLAIMS = { user: 'ann', scope: SCOPE }

function openTokens(keys: readonly Buffer[] = [CLUSTER_KEY], clock = new ManualClock()) {
  return { tokens: new Tokens({ clusterKeys: () => keys, clock }), clock }
}

test('any node of the cluster takes the token of any other, and no node of another cluster does', () => {
  const { token, expiresInSeconds } = openTokens().tokens.issue(CLAIMS)
  assert.deepEqual(openTokens([Buffer.from(CLUSTER_KEY)]).tokens.verify(token), CLAIMS)
  assert.equal(openTokens([randomBytes(32)]).tokens.verify(token), undefined)
  assert.equal(expiresInSeconds, 300)
})

test('while the cluster secret rotates, tokens signed by the old and the new one are good', () => {
  const [old, next] = [randomBytes(32), randomBytes(32)]
  const ofOld = openTokens([old]).tokens.issue(CLAIMS).token
  const ofBoth = openTokens([next, old]).tokens
  assert.deepEqual(ofBoth.verify(ofOld), CLAIMS)
  assert.deepEqual(openTokens([old, next]).tokens.verify(ofBoth.issue(CLAIMS).token), CLAIMS)
  assert.equal(openTokens([next]).tokens.verify(ofOld), undefined)
})

test('a token ends, with five minutes for clocks that differ', () => {
  const { tokens, clock } = openTokens()
  const { token } = tokens.issue(CLAIMS)
  clock.ms += 599_000
  assert.deepEqual(tokens.verify(token), CLAIMS)
  clock.ms += 1_000
  assert.equal(tokens.verify(token), undefined)
  clock.ms -= 600_000 + 300_000
  assert.deepEqual(tokens.verify(token), CLAIMS)
  clock.ms -= 1_000
  assert.equal(tokens.verify(token), undefined)
})

test('a token that was taken once is none when its time is over, or its secret out of use', () => {
  const clock = new ManualClock()
  const [old, next] = [randomBytes(32), randomBytes(32)]
  let keys = [old]
  const tokens = new Tokens({ clusterKeys: () => keys, clock })
  const { token } = tokens.issue(CLAIMS)
  for (let times = 0; times < 3; times++) assert.deepEqual(tokens.verify(token), CLAIMS)
  keys = [next, old]
  assert.deepEqual(tokens.verify(token), CLAIMS)
  keys = [next]
  assert.equal(tokens.verify(token), undefined)
  keys = [old]
  assert.deepEqual(tokens.verify(token), CLAIMS)
  clock.ms += 600_000
  assert.equal(tokens.verify(token), undefined)
})

test('CVE-2025-24976: a token has no say in how it is verified', () => {
  const { tokens } = openTokens()
  const payload = tokens.issue(CLAIMS).token.split('.')[1] ?? ''
  const encode = (header: unknown) => Buffer.from(JSON.stringify(header)).toString('base64url')
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const jwk = publicKey.export({ format: 'jwk' })
  const own = `${encode({ alg: 'EdDSA', typ: 'JWT', jwk, kid: '1' })}.${payload}`
  const unsigned = `${encode({ alg: 'none', typ: 'JWT' })}.${payload}`
  const empty = `${encode({ alg: 'HS256', typ: 'JWT' })}.${payload}`
  const forged = [
    `${own}.${sign(null, Buffer.from(own), privateKey).toString('base64url')}`,
    `${unsigned}.`,
    `${empty}.${createHmac('sha256', '').update(empty).digest('base64url')}`,
    // The cluster's secret itself, which the mesh uses, is not the key of the tokens.
    `${empty}.${createHmac('sha256', CLUSTER_KEY).update(empty).digest('base64url')}`
  ]
  for (const token of forged) assert.equal(tokens.verify(token), undefined)
})

test('a token that was changed anywhere is none', () => {
  const { tokens } = openTokens()
  const { token } = tokens.issue(CLAIMS)
  const change = fc.tuple(fc.nat({ max: token.length - 1 }), fc.string({ maxLength: 2 }))
  fc.assert(
    fc.property(change, ([at, text]) => {
      const changed = token.slice(0, at) + text + token.slice(at + 1)
      if (changed !== token) assert.equal(tokens.verify(changed), undefined)
    })
  )
  for (const text of ['', '.', '..', 'a.b', `${token}.`, `${token}.x`, 'x'.repeat(100_000)]) {
    assert.equal(tokens.verify(text), undefined)
  }
})

test('of a scope that is granted, no more is granted than is allowed', () => {
  const wishes = parseScopes([
    'repository:team/app:pull,push,delete registry:catalog:*',
    'repository:other:pull',
    'repository:all:*'
  ])
  const granted = grant(wishes, {
    may: (action, name) => `${action} ${name}` !== 'pull other',
    mayList: false
  })
  assert.deepEqual(granted, [
    { type: 'repository', name: 'team/app', actions: ['pull', 'push', 'delete'] },
    { type: 'repository', name: 'all', actions: ['pull', 'push', 'delete'] }
  ])
  assert.deepEqual(grant(wishes, { may: () => false, mayList: true }), [SCOPE[1]])
})

test('scopes that make no sense are left out, and many are cut off', () => {
  const odd = [
    '',
    'x',
    'repository:A:pull',
    'repository:a',
    'repository:../a:pull',
    'plugin:a:pull'
  ]
  assert.deepEqual(parseScopes([...odd, 'registry:catalog:pull', 'repository:a:b:pull']), [])
  assert.deepEqual(parseScopes(['repository(plugin):a:pull']), [
    { type: 'repository', name: 'a', actions: ['pull'] }
  ])
  assert.equal(parseScopes([`${'repository:a:pull '.repeat(1_000)}`]).length, 32)
  fc.assert(fc.property(fc.array(fc.string()), texts => parseScopes(texts).length <= 32))
})
