import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../../src/errors.ts'
import { assertError, openRegistry } from './fixture.ts'

test('what is asked of a node that is starting waits until it has started', async t => {
  const opened = Promise.withResolvers<void>()
  const { url } = await openRegistry(t, { opened: opened.promise })
  let isOpen = false
  const asked = fetch(`${url}/v2/`).then(({ status }) => ({ status, isOpen }))
  // Nobody is answered meanwhile.
  await assert.rejects(fetch(`${url}/v2/`, { signal: AbortSignal.timeout(200) }))
  isOpen = true
  opened.resolve()
  assert.deepEqual(await asked, { status: 200, isOpen: true })
  assert.equal((await fetch(`${url}/v2/`)).status, 200)
})

test('what is asked of a node that does not start is refused with the reason', async t => {
  const opened = Promise.withResolvers<void>()
  const { url } = await openRegistry(t, { opened: opened.promise })
  const asked = fetch(`${url}/v2/`)
  opened.reject(new StarlingError('UNAVAILABLE', 'this node did not start'))
  await assertError(await asked, 503, 'UNAVAILABLE')
})
