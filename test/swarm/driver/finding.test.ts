import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Digest } from '../../../src/digest.ts'
import { Finding } from '../../../src/swarm/driver/finding.ts'
import type { PieceShape } from '../../../src/swarm/driver/ports.ts'
import { Seeks } from '../../../src/swarm/driver/seeks.ts'
import type { Talk } from '../../../src/swarm/driver/talk.ts'
import { makeBlob } from './flock.ts'

const { digest } = makeBlob(1)
const shape = { pieceBytes: 1, sizeBytes: 5 }

test('a neighbour that was just met is waited for, and asked when it is there', async t => {
  const stage = open(t.signal)
  stage.isExpecting = true
  const found = stage.finding.find(digest)
  assert.deepEqual(stage.asked, [])
  stage.come('a', shape)
  assert.deepEqual(await found, shape)
})

test('without pieces nobody else is waited for', async t => {
  const stage = open(t.signal)
  stage.come('knows nothing')
  assert.equal(await stage.finding.find(digest), undefined)
  assert.deepEqual(stage.asked, ['knows nothing'])
})

test('where pieces are here whoever comes is asked, until one knows of the blob', async t => {
  const stage = open(t.signal)
  stage.come('a')
  stage.hasPieces = true
  const found = stage.finding.find(digest)
  await stage.looked()
  stage.come('b')
  await stage.looked()
  stage.come('c', shape)
  assert.deepEqual(await found, shape)
  assert.deepEqual(stage.asked, ['a', 'a', 'b', 'a', 'b', 'c'])
})

test('after a while nobody is waited for any more', async t => {
  const stage = open(t.signal)
  stage.hasPieces = true
  assert.equal(await stage.finding.find(digest), undefined)
})

test('what is on its way here is known without asking', async t => {
  const stage = open(t.signal)
  stage.come('a')
  stage.known = shape
  assert.equal(await stage.finding.find(digest), shape)
  assert.deepEqual(stage.asked, [])
})

/** A node whose neighbours answer at once. */
function open(signal: AbortSignal) {
  const seeks = new Seeks()
  const peers = new Map<string, PieceShape | undefined>()
  let looked = Promise.withResolvers<void>()
  const stage = {
    isExpecting: false,
    hasPieces: false,
    known: undefined as PieceShape | undefined,
    asked: [] as string[],
    /** Settles when it was found out whether there are pieces. */
    looked: async () => {
      await looked.promise
      looked = Promise.withResolvers()
      await new Promise(setImmediate)
    },
    come(peer: string, knows?: PieceShape) {
      peers.set(peer, knows)
      stage.isExpecting = false
      finding.arrived()
    }
  }
  const seek = (peer: string, of: Digest) => {
    stage.asked.push(peer)
    const knows = peers.get(peer)
    setImmediate(() => (knows === undefined ? seeks.miss(peer, of) : seeks.hear(of, knows)))
  }
  const finding = new Finding({
    ...{ seeks, signal, talk: { seek } as Talk, peers: () => [...peers.keys()] },
    store: {
      hasPieces: async () => {
        looked.resolve()
        return stage.hasPieces
      }
    },
    isExpecting: () => stage.isExpecting,
    known: () => stage.known
  })
  return Object.assign(stage, { finding })
}
