import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../src/digest.ts'
import { StarlingError } from '../../src/errors.ts'
import { OPEN_ACCESS } from '../../src/registry/access.ts'
import type { Deputy, DeputyAnswer } from '../../src/registry/deputy.ts'
import { MAY_PUSH_HEADER } from '../../src/registry/relayed-access.ts'
import { assertError, openRegistry, type Registry } from './fixture.ts'

const BLOB = Buffer.from('what was pushed')
const PATH = `/v2/app/blobs/${digestOf(BLOB)}`

test('what a deputy gives is passed through, and counted', async t => {
  let sentBytes = 0
  const { url } = await open(t, answerOf([BLOB.subarray(0, 4), BLOB.subarray(4)]), count => {
    sentBytes += count
  })
  const response = await fetch(url + PATH)
  assert.equal(await response.text(), BLOB.toString())
  assert.equal(response.headers.get('docker-content-digest'), digestOf(BLOB))
  assert.equal(sentBytes, BLOB.length)
})

test('what is not what was asked for never comes whole', async t => {
  const wrong = Buffer.from('what was pushEd')
  const { url } = await open(t, answerOf([wrong.subarray(0, 4), wrong.subarray(4)]))
  const response = await fetch(url + PATH)
  await assert.rejects(response.text())
})

test('what was asked for by its digest is compared with that, and not with what the deputy says', async t => {
  const other = Buffer.from('something else!')
  const answer = { ...answerOf([other])(), headers: { 'docker-content-digest': digestOf(other) } }
  const { url } = await open(t, () => answer)
  const response = await fetch(url + PATH)
  await assert.rejects(response.text())
})

test('a list that is asked for by the digest of its subject is not what has that digest', async t => {
  const list = Buffer.from('{"manifests":[]}')
  const { url } = await open(t, () => ({ ...answerOf([list])(), headers: {} }))
  const response = await fetch(`${url}/v2/app/referrers/${digestOf(BLOB)}`)
  assert.equal(await response.text(), list.toString())
})

test('with no deputy in reach a blob is said not to be here, and all else is unavailable', async t => {
  const { url } = await open(t, () => {
    throw new StarlingError('UNAVAILABLE', 'nobody', { retryAfterSeconds: 1 })
  })
  assert.equal((await fetch(url + PATH, { method: 'HEAD' })).status, 404)
  await assertError(await fetch(url + PATH), 503, 'UNAVAILABLE')
  const push = { method: 'PUT', body: '{}' }
  await assertError(await fetch(`${url}/v2/app/manifests/v1`, push), 503, 'UNAVAILABLE')
})

test('the node that answers is told whether its client may push', async t => {
  const told: unknown[] = []
  const answer = answerOf([BLOB])
  for (const access of [OPEN_ACCESS, { ...OPEN_ACCESS, mayPush: () => false }]) {
    const deputy = {
      answer: async ({ headers }: Parameters<Deputy['answer']>[0]) => {
        told.push(headers[MAY_PUSH_HEADER])
        return answer()
      }
    }
    const { url } = await openRegistry(t, { deputy, access })
    // What the client says of itself is not passed on.
    const response = await fetch(url + PATH, { headers: { [MAY_PUSH_HEADER]: 'true' } })
    await response.arrayBuffer()
  }
  assert.deepEqual(told, ['true', 'false'])
})

test('a push that another node should take is taken here when none can be reached', async t => {
  const deputy = {
    isBetter: () => true,
    answer: async () => {
      throw new StarlingError('UNAVAILABLE', 'nobody')
    }
  }
  const { url, content } = await openRegistry(t, { pushDeputy: deputy })
  const begun = await fetch(`${url}/v2/app/blobs/uploads/`, { method: 'POST' })
  assert.equal(begun.status, 202)
  const location = `${url}${begun.headers.get('location')}?digest=${digestOf(BLOB)}`
  assert.equal((await fetch(location, { method: 'PUT', body: BLOB })).status, 201)
  assert.deepEqual(content.blobs.get(digestOf(BLOB)), BLOB)
})

test('a push that broke off on its way to another node is not taken for one without a body', async t => {
  const deputy = {
    isBetter: () => true,
    answer: async ({ body }: Parameters<Deputy['answer']>[0]) => {
      for await (const _ of body?.() ?? []) break
      throw new StarlingError('UNAVAILABLE', 'gone meanwhile')
    }
  }
  const { url } = await openRegistry(t, { pushDeputy: deputy })
  const path = `/v2/app/blobs/uploads/?digest=${digestOf(BLOB)}`
  await assertError(await fetch(url + path, { method: 'POST', body: BLOB }), 503, 'UNAVAILABLE')
})

function open(
  t: TestContext,
  answer: () => DeputyAnswer,
  onSent: (count: number) => void = () => {}
): Promise<Registry> {
  return openRegistry(t, {
    deputy: { answer: async () => answer() },
    onBytes: (direction, count) => {
      if (direction === 'sent') onSent(count)
    }
  })
}

function answerOf(chunks: readonly Buffer[]): () => DeputyAnswer {
  const headers = {
    'content-length': String(BLOB.length),
    'docker-content-digest': digestOf(BLOB)
  }
  return () => ({ status: 200, headers, body: Readable.from(chunks) })
}
