import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StarlingError } from '../../src/errors.ts'
import type { PeerView } from '../../src/mesh/peer-view.ts'
import { Locator } from '../../src/replication/locator.ts'
import { Sightings } from '../../src/replication/sightings.ts'
import { decodeHave, decodeSizes, encodeHave, encodeSizes } from '../../src/replication/wire.ts'
import { named, peer } from './fixtures.ts'

const [a, b] = [named('a'), named('b')] as const

type Answer = (payload: Uint8Array, signal: AbortSignal) => Promise<Uint8Array>

/** A locator among peers that answer as the test says; `handled` is what others get from it. */
function openLocator(peers: readonly PeerView[], answers: Readonly<Record<string, Answer>> = {}) {
  const sightings = new Sightings()
  let handled: ((payload: Uint8Array) => Promise<Uint8Array>) | undefined
  const locator = new Locator({
    mesh: {
      peers: () => peers,
      request: async (id, _protocol, payload, { signal }) => {
        const answer = answers[id]
        if (answer === undefined) throw new StarlingError('PEER_FAILED', 'no answer')
        return answer(payload, signal)
      },
      handle: (_protocol, _maxBytes, handler) => {
        handled = payload => handler('peer', payload, new AbortController().signal)
      }
    },
    blobs: { stat: digest => (digest === a ? { sizeBytes: 7 } : undefined) },
    sightings
  })
  return { locator, sightings, handled: (payload: Uint8Array) => handled?.(payload) }
}

test('candidates are those heard to hold it, then those not known to miss it, then the rest', () => {
  const { locator, sightings } = openLocator([
    peer('missing', {}, { missing: [a], missingCount: 1 }),
    peer('unheard', { beat: undefined }),
    peer('vague', {}, { missing: [b], missingCount: 2 }),
    peer('likely', {}, { missing: [b], missingCount: 1 }),
    peer('heard'),
    peer('gone', { connected: false }),
    peer('unpinned', { transfer: undefined }),
    peer('none', { hold: 'none' })
  ])
  sightings.add('heard', a)
  const ids = locator.candidates(a).map(equals => equals.map(({ id }) => id))
  assert.deepEqual(ids, [['heard'], ['likely'], ['unheard', 'vague'], ['missing']])
})

test('all connected members are asked, and who does not answer is told', async () => {
  const { locator, sightings } = openLocator(
    [peer('holder'), peer('other'), peer('mute'), peer('dead', { connected: false })],
    {
      holder: async payload => encodeSizes(decodeHave(payload).map(each => (each === b ? 9 : -1))),
      other: async payload => encodeSizes(decodeHave(payload).map(() => -1)),
      mute: (_payload, signal) =>
        new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    }
  )
  sightings.add('other', b)
  const { held, silent } = await locator.locate([a, b], 20)
  assert.deepEqual([...held], [[b, 9]])
  assert.deepEqual(silent, ['mute'])
  assert.equal(sightings.has('holder', b), true)
  assert.equal(sightings.has('other', b), false)
})

test('an answer that does not fit the question is no answer', async () => {
  const short: Answer = async () => encodeSizes([1])
  const { locator } = openLocator([peer('odd')], { odd: short })
  const { held, silent } = await locator.locate([a, b], 1_000)
  assert.equal(held.size, 0)
  assert.deepEqual(silent, ['odd'])
})

test('more digests than fit one question are asked in several', async () => {
  const sizes: number[] = []
  const { locator } = openLocator([peer('holder')], {
    holder: async payload => {
      const digests = decodeHave(payload)
      sizes.push(digests.length)
      return encodeSizes(digests.map(() => 1))
    }
  })
  const digests = Array.from({ length: 2_001 }, (_, number) => named(`${number}`))
  assert.equal((await locator.locate(digests, 5_000)).held.size, 2_001)
  assert.deepEqual(sizes, [1_000, 1_000, 1])
})

test('others are told the sizes of what is held here', async () => {
  const { handled } = openLocator([])
  const answer = await handled(encodeHave([b, a]))
  assert.ok(answer)
  assert.deepEqual(decodeSizes(answer, 2), [-1, 7])
})
