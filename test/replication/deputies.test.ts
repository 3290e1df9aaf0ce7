import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { StarlingError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import { Deputies, type DeputiesOptions } from '../../src/replication/deputies.ts'
import { PATIENCE_MS } from '../helpers/until.ts'
import { peer } from './fixtures.ts'

const GiB = 1024 ** 3
const PULL = { method: 'GET', headers: {} }
const BEGIN = { method: 'POST', headers: {} }
const push = (bytes: number) => ({ method: 'PUT', headers: { 'content-length': String(bytes) } })

test('a push goes where there is room for it, a pull to who is ready and holds all', async () => {
  const small = peer('small', {}, { freeBytes: 100 })
  const large = peer('large', {}, { freeBytes: 500 * GiB, ready: false })
  assert.equal(await asked('last', [small, large], push(101)), 'large')
  assert.equal(await asked('last', [small, large], push(100)), 'small')
  assert.equal(await asked('last', [small, large], BEGIN), 'large')
  assert.equal(await asked('last', [large, small], PULL), 'small')
  const full = peer('full', {}, { freeBytes: 0, disk: 'full' })
  assert.equal(await asked('last', [full, small], PULL), 'small')
})

test('of those with room for a push one that is ready comes first, then the one with the most', async () => {
  const catchingUp = peer('catching up', {}, { freeBytes: 900 * GiB, ready: false })
  const ready = peer('ready', {}, { freeBytes: 20 * GiB })
  const roomier = peer('roomier', {}, { freeBytes: 30 * GiB })
  assert.equal(await asked('roomiest', [catchingUp, ready, roomier], push(1000)), 'roomier')
  assert.equal(await asked('roomiest', [catchingUp, ready], BEGIN), 'ready')
})

test('a member of an older version, which would say that it knows of nothing, is not asked', async () => {
  const older = peer('older')
  const newer = peer('newer', {}, { freeBytes: 0, ready: false })
  for (const request of [PULL, BEGIN, push(5)]) {
    assert.equal(await asked('last', [older, newer], request), 'newer')
  }
  await assert.rejects(asked('last', [older], PULL), { code: 'UNAVAILABLE' })
})

test('who cannot be reached is passed over, unless it has had something of the body', async () => {
  const peers = [peer('a', {}, { freeBytes: 1 }), peer('b', {}, { freeBytes: 1 })]
  const unreached = new StarlingError('PEER_FAILED', 'not reached')
  assert.equal(
    await asked('last', peers, PULL, ({ id }) => (id === 'a' ? unreached : undefined)),
    'b'
  )
  const deputies = open('last', peers, (_peer, body) => {
    body?.()
    return unreached
  })
  const request = { ...push(1), path: '/', body: () => Readable.from(['x']) }
  await assert.rejects(deputies.answer(request, AbortSignal.timeout(PATIENCE_MS)), unreached)
})

/** Whom a request goes to. */
async function asked(
  prefer: DeputiesOptions['prefer'],
  peers: readonly PeerView[],
  request: { readonly method: string; readonly headers: Readonly<Record<string, string>> },
  fails: (peer: { readonly id: string }) => Error | undefined = () => undefined
): Promise<string> {
  const deputies = open(prefer, peers, fails)
  const answer = await deputies.answer({ path: '/', ...request }, AbortSignal.timeout(PATIENCE_MS))
  answer.body.destroy()
  return String(answer.headers.location)
}

function open(
  prefer: DeputiesOptions['prefer'],
  peers: readonly PeerView[],
  fails: (peer: { readonly id: string }, body: (() => unknown) | undefined) => Error | undefined
): Deputies {
  return new Deputies({
    mesh: { peers: () => [...peers], on: () => () => undefined },
    relay: {
      open: async (holder, { body }) => {
        const error = fails(holder, body)
        if (error !== undefined) throw error
        return { status: 200, headers: { location: holder.id }, body: Readable.from([]) }
      }
    },
    prefer,
    log: silentLog
  })
}
