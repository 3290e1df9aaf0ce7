import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { hashSync } from 'bcryptjs'
import { isCode } from '../../../src/errors.ts'
import { silentLog } from '../../../src/log.ts'
import { BcryptThread } from '../../../src/registry/auth/bcrypt.ts'
import { Passwords } from '../../../src/registry/auth/passwords.ts'
import { until } from '../../helpers/until.ts'
import { CountedCheck, htpasswd, ManualClock, temporaryFile } from './fixture.ts'

const HOME = '127.0.0.1'

async function openPasswords(t: TestContext, users: string, graceMs = 0) {
  const file = await temporaryFile(t, users)
  const [check, clock] = [new CountedCheck(), new ManualClock()]
  const options = { file: file.path, graceMs, check, clock, log: silentLog }
  const passwords = await Passwords.open(options)
  t.after(() => passwords.close())
  return { passwords, check, clock, file }
}

test('a password is checked once, and never again until the file changes', async t => {
  const { passwords, check, file } = await openPasswords(t, htpasswd({ ann: 'secret' }))
  assert.equal(await passwords.verify('ann', 'secret', HOME), true)
  assert.equal(check.count, 1)
  for (let i = 0; i < 100; i++) assert.equal(passwords.verify('ann', 'secret', HOME), true)
  assert.equal(check.count, 1)
  await file.write(htpasswd({ ann: 'secret', bob: 'other' }))
  await passwords.reload()
  assert.equal(await passwords.verify('ann', 'secret', HOME), true)
  assert.equal(check.count, 2)
})

test('many at once with one password make one check', async t => {
  const { passwords, check } = await openPasswords(t, htpasswd({ ann: 'secret' }))
  const all = Array.from({ length: 100 }, (_, i) =>
    passwords.verify('ann', 'secret', `10.0.0.${i}`)
  )
  assert.ok((await Promise.all(all)).every(Boolean))
  assert.equal(check.count, 1)
})

test('a wrong password is wrong, and costs one check in ten seconds', async t => {
  const { passwords, check, clock } = await openPasswords(t, htpasswd({ ann: 'secret' }))
  assert.equal(await passwords.verify('ann', 'Secret', HOME), false)
  assert.equal(passwords.verify('ann', 'Secret', HOME), false)
  assert.equal(check.count, 1)
  clock.ms += 10_000
  assert.equal(await passwords.verify('ann', 'Secret', HOME), false)
  assert.equal(check.count, 2)
})

test('a user who does not exist costs what one who does would', async t => {
  const users = `ann:${hashSync('a', 4)}\nann:${hashSync('b', 4)}\n`
  const { passwords, check } = await openPasswords(t, users)
  assert.equal(await passwords.verify('ann', 'wrong', HOME), false)
  assert.equal(check.count, 2)
  assert.equal(await passwords.verify('nobody', 'wrong', HOME), false)
  assert.equal(check.count, 4)
  // The hash it is compared with is a real one, and its password lets nobody in.
  assert.equal(await passwords.verify('nobody', 'a', HOME), false)

  const empty = await openPasswords(t, '')
  assert.equal(await empty.passwords.verify('nobody', 'wrong', HOME), false)
  assert.equal(empty.check.count, 1)
})

test('user and password are told apart, wherever the one ends and the other begins', async t => {
  const { passwords } = await openPasswords(t, htpasswd({ ann: 'bc', annb: 'x' }))
  assert.equal(await passwords.verify('ann', 'bc', HOME), true)
  assert.equal(await passwords.verify('annb', 'c', HOME), false)
})

test('a removed user is out at once, also one whose check was under way', async t => {
  const { passwords, check, file } = await openPasswords(
    t,
    htpasswd({ ann: 'a', bob: 'b' }),
    60_000
  )
  assert.equal(await passwords.verify('ann', 'a', HOME), true)
  const held = Promise.withResolvers<void>()
  check.hold = held.promise
  const late = passwords.verify('bob', 'b', HOME)
  await file.write(htpasswd({}))
  await passwords.reload()
  held.resolve()
  assert.equal(await late, false)
  assert.equal(await passwords.verify('ann', 'a', HOME), false)
  assert.equal(passwords.has('ann'), false)
})

test('a replaced password works on for its time of grace, and no longer', async t => {
  const { passwords, clock, file } = await openPasswords(t, htpasswd({ ann: 'old' }), 60_000)
  await file.write(htpasswd({ ann: 'new' }))
  await passwords.reload()
  assert.equal(await passwords.verify('ann', 'new', HOME), true)
  assert.equal(await passwords.verify('ann', 'old', HOME), true)
  clock.ms += 59_999
  assert.equal(passwords.verify('ann', 'old', HOME), true)
  clock.ms += 1
  assert.equal(await passwords.verify('ann', 'old', HOME), false)
  assert.equal(passwords.verify('ann', 'new', HOME), true)
})

test('without grace a replaced password stops at once', async t => {
  const { passwords, file } = await openPasswords(t, htpasswd({ ann: 'old' }))
  assert.equal(await passwords.verify('ann', 'old', HOME), true)
  await file.write(htpasswd({ ann: 'new' }))
  await passwords.reload()
  assert.equal(await passwords.verify('ann', 'old', HOME), false)
})

test('a file with a mistake, or none, leaves the known users in place', async t => {
  const { passwords, file } = await openPasswords(t, htpasswd({ ann: 'a' }))
  await file.write('ann:not a hash')
  await passwords.reload()
  assert.equal(await passwords.verify('ann', 'a', HOME), true)
  const missing = { file: `${file.path}.none`, graceMs: 0, clock: new ManualClock() }
  const opening = Passwords.open({ ...missing, check: new CountedCheck(), log: silentLog })
  await assert.rejects(opening, error => {
    return isCode(error, 'CONFIG_INVALID') && /--htpasswd: .*\.none: ENOENT/.test(error.message)
  })
})

test('a change of the file is seen without being told', async t => {
  const { passwords, file } = await openPasswords(t, htpasswd({ ann: 'a' }))
  await file.write(htpasswd({ ann: 'a', bob: 'b' }))
  await until(() => passwords.has('bob'), { what: 'the new user' })
})

test('one address cannot keep all others from logging in, nor can all of them queue for ever', async t => {
  const { passwords, check } = await openPasswords(t, htpasswd({ ann: 'secret' }))
  const held = Promise.withResolvers<void>()
  check.hold = held.promise
  const running = Array.from({ length: 8 }, (_, i) => passwords.verify('ann', `${i}`, '10.0.0.1'))
  const busy = (attempt: boolean | Promise<boolean>) =>
    assert.rejects(Promise.resolve(attempt), error => isCode(error, 'UNAVAILABLE'))
  await busy(passwords.verify('ann', 'one more', '10.0.0.1'))
  for (let i = 0; i < 56; i++) running.push(passwords.verify('bob', `${i}`, `10.0.2.${i}`))
  await busy(passwords.verify('ann', 'secret', '10.0.3.1'))
  held.resolve()
  await Promise.all(running)
  assert.equal(await passwords.verify('ann', 'secret', '10.0.0.1'), true)
})

test('bcrypt of every prefix is checked on a thread of its own', async t => {
  const bcrypt = new BcryptThread()
  t.after(() => bcrypt.close())
  const hash = hashSync('pässword', 4)
  for (const prefix of ['$2a$', '$2b$', '$2y$']) {
    assert.equal(await bcrypt.verify('pässword', hash.replace('$2b$', prefix)), true)
    assert.equal(await bcrypt.verify('password', hash.replace('$2b$', prefix)), false)
  }
  const ending = bcrypt.verify('x', hashSync('x', 10))
  await Promise.all([assert.rejects(ending, error => isCode(error, 'CLOSED')), bcrypt.close()])
})
