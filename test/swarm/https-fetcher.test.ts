import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import { createCredentials } from '../../src/swarm/certificate.ts'
import type { BlobSource } from '../../src/swarm/send-blob.ts'
import {
  asker,
  closed,
  holderAt,
  makeBlob,
  memorySource,
  openFetcher,
  rightHead,
  startHolder,
  startRogue
} from './peers.ts'
import { startRelay } from './relay.ts'

const blob = makeBlob(300_000)

test('a blob is fetched from any byte on, over one connection', async t => {
  await using node = await startHolder('node', memorySource(blob))
  await using relay = await startRelay(node.server.port)
  const holder = { ...node.holder, port: relay.port }
  const fetcher = openFetcher(t)
  for (const start of [0, 1, 65_536, 299_999]) {
    const fetched = await fetcher.open(holder, blob.digest, start, t.signal)
    assert.equal(fetched.sizeBytes, blob.bytes.length)
    assert.deepEqual(Buffer.concat(await fetched.body.toArray()), blob.bytes.subarray(start))
  }
  assert.equal(relay.accepted, 1)
})

test('from the end on, and beyond it, there is the size and nothing to read', async t => {
  await using node = await startHolder('node', memorySource(blob))
  await using relay = await startRelay(node.server.port)
  const holder = { ...node.holder, port: relay.port }
  const fetcher = openFetcher(t)
  for (const start of [300_000, 300_001]) {
    const fetched = await fetcher.open(holder, blob.digest, start, t.signal)
    assert.equal(fetched.sizeBytes, 300_000)
    assert.deepEqual(await fetched.body.toArray(), [])
  }
  assert.equal(relay.accepted, 1)
})

test('a holder without the blob says so, and its connection is kept', async t => {
  await using node = await startHolder('node', memorySource())
  await using relay = await startRelay(node.server.port)
  const holder = { ...node.holder, port: relay.port }
  const fetcher = openFetcher(t)
  for (const _ of ['first', 'second']) {
    await assert.rejects(fetcher.open(holder, blob.digest, 0, t.signal), {
      code: 'BLOB_UNKNOWN'
    })
  }
  assert.equal(relay.accepted, 1)
})

test('a busy holder has failed, and says when to come back', async t => {
  await using node = await startHolder('node', memorySource(blob), { limits: { maxResponses: 0 } })
  const fetcher = openFetcher(t)
  await assert.rejects(fetcher.open(node.holder, blob.digest, 0, t.signal), {
    code: 'PEER_FAILED',
    retryAfterSeconds: 1
  })
})

test('an error with an endless body is not read', async t => {
  await using rogue = await startRogue('rogue', (_, socket) => {
    socket.write('HTTP/1.1 404 Not Found\r\ncontent-length: 999999999\r\n\r\nabc')
  })
  const fetcher = openFetcher(t)
  await assert.rejects(fetcher.open(rogue.holder, blob.digest, 0, t.signal), {
    code: 'BLOB_UNKNOWN'
  })
  await Promise.all([...rogue.connections].map(socket => closed(socket)))
})

test('an endless head, or endless interim answers, are cut off in time', async t => {
  for (const piece of ['x-pad: 0123456789\r\n', 'HTTP/1.1 102 Processing\r\n\r\n']) {
    await using rogue = await startRogue('rogue', (_, socket) => {
      if (piece.startsWith('x-')) socket.write('HTTP/1.1 200 OK\r\n')
      const drip = setInterval(() => socket.write(piece), 20)
      socket.on('close', () => clearInterval(drip))
    })
    const fetcher = openFetcher(t, { answerTimeoutMs: 200 })
    await assert.rejects(fetcher.open(rogue.holder, blob.digest, 0, t.signal), {
      code: 'PEER_FAILED'
    })
    await Promise.all([...rogue.connections].map(socket => closed(socket)))
  }
})

test('a holder that accepts a connection and says nothing at all is given up', async t => {
  const silent = createServer(socket => {
    socket.on('error', () => {})
    socket.resume()
  })
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const holder = holderAt('silent', (silent.address() as AddressInfo).port, asker)
  const left = once(silent, 'connection').then(([socket]) => closed(socket))
  const fetcher = openFetcher(t, { connectTimeoutMs: 100 })
  await assert.rejects(fetcher.open(holder, blob.digest, 0, t.signal), { code: 'PEER_FAILED' })
  await left
})

test('nobody at the address is a failure of the peer', async t => {
  const node = await startHolder('node', memorySource(blob))
  await node.server.close()
  const fetcher = openFetcher(t)
  await assert.rejects(fetcher.open(node.holder, blob.digest, 0, t.signal), { code: 'PEER_FAILED' })
})

test('a kept connection that the holder has closed is replaced without a word', async t => {
  let requests = 0
  await using rogue = await startRogue('rogue', (head, socket) => {
    requests++
    // Hangs up on every second request of a connection, as a server whose idle time ran out.
    if (requests === 2) socket.destroy()
    else socket.write(`${rightHead(head, 2).head}ok`)
  })
  const fetcher = openFetcher(t)
  for (const _ of ['first', 'second']) {
    const { body } = await fetcher.open(rogue.holder, blob.digest, 0, t.signal)
    assert.equal(String(Buffer.concat(await body.toArray())), 'ok')
  }
  assert.equal(requests, 3)
})

test('the signal ends a connection under way, a wait for the answer, and a body', async t => {
  const silent = createServer(socket => {
    socket.on('error', () => {})
    socket.resume()
  })
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  t.after(() => silent.close())
  const fetcher = openFetcher(t, { connectTimeoutMs: 60_000 })

  const connecting = new AbortController()
  const accepted = once(silent, 'connection')
  const port = (silent.address() as AddressInfo).port
  const first = fetcher.open(holderAt('s', port, asker), blob.digest, 0, connecting.signal)
  const [tcp] = await accepted
  connecting.abort(new Error('enough'))
  await assert.rejects(first, { message: 'enough' })
  await closed(tcp)

  const answering = new AbortController()
  await using mute = await startRogue('mute', () => answering.abort(new Error('enough')))
  await assert.rejects(fetcher.open(mute.holder, blob.digest, 0, answering.signal), {
    message: 'enough'
  })
  await Promise.all([...mute.connections].map(socket => closed(socket)))

  const reading = new AbortController()
  await using slow = await startRogue('slow', (head, socket) => {
    socket.write(`${rightHead(head, 100).head}some`)
  })
  const { body } = await fetcher.open(slow.holder, blob.digest, 0, reading.signal)
  reading.abort(new Error('enough'))
  await assert.rejects(body.toArray())
  await Promise.all([...slow.connections].map(socket => closed(socket)))
})

/** Counts how many bodies are open at once; each ends when it is told to. */
function countingSource() {
  const open = new Set<Readable>()
  let most = 0
  const source: BlobSource = {
    stat: () => ({ sizeBytes: 10 }),
    async read() {
      const body = new Readable({ read() {} })
      open.add(body)
      most = Math.max(most, open.size)
      body.once('close', () => open.delete(body))
      setImmediate(() => body.push(Buffer.alloc(10)))
      setImmediate(() => body.push(null))
      return body
    }
  }
  return { source, most: () => most }
}

test('no more transfers run at once than are allowed, and all get their turn', async t => {
  const { source, most } = countingSource()
  await using node = await startHolder('node', source)
  await using relay = await startRelay(node.server.port)
  const holder = { ...node.holder, port: relay.port }
  const fetcher = openFetcher(t, { maxTransfers: 3 })
  const all = Array.from({ length: 20 }, async () => {
    const { body } = await fetcher.open(holder, blob.digest, 0, t.signal)
    return Buffer.concat(await body.toArray()).length
  })
  assert.deepEqual(new Set(await Promise.all(all)), new Set([10]))
  assert.ok(most() <= 3)
  assert.ok(relay.accepted <= 3)
})

test('a body that is destroyed half-way gives its place back', async t => {
  await using node = await startHolder('node', memorySource(blob))
  const fetcher = openFetcher(t, { maxTransfers: 1 })
  for (const _ of ['first', 'second', 'third']) {
    const { body } = await fetcher.open(node.holder, blob.digest, 0, t.signal)
    body.destroy()
  }
})

test('connections to many holders are bounded: the one longest unused is closed', async t => {
  const nodes = await Promise.all(
    ['one', 'two', 'three'].map(name => startHolder(name, memorySource(blob)))
  )
  const relays = await Promise.all(nodes.map(({ server }) => startRelay(server.port)))
  for (const each of [...nodes, ...relays]) t.after(() => each[Symbol.asyncDispose]())
  const fetcher = openFetcher(t, { maxHolders: 2 })
  for (const turn of [0, 1, 2, 1, 0]) {
    const holder = nodes[turn]?.holder
    const port = relays[turn]?.port
    assert.ok(holder !== undefined && port !== undefined)
    const { body } = await fetcher.open({ ...holder, port }, blob.digest, 0, t.signal)
    await body.toArray()
  }
  assert.deepEqual(
    relays.map(({ accepted }) => accepted),
    [2, 1, 1]
  )
})

test('close ends what is under way and what is asked later', async t => {
  await using slow = await startRogue('slow', (head, socket) => {
    socket.write(`${rightHead(head, 100).head}some`)
  })
  const fetcher = openFetcher(t, { maxTransfers: 1 })
  const { body } = await fetcher.open(slow.holder, blob.digest, 0, t.signal)
  const waiting = fetcher.open(slow.holder, blob.digest, 0, t.signal)
  const ended = assert.rejects(waiting, { code: 'CLOSED' })
  await fetcher.close()
  await fetcher.close()
  await ended
  await assert.rejects(body.toArray())
  await assert.rejects(fetcher.open(slow.holder, blob.digest, 0, t.signal), { code: 'CLOSED' })
  await Promise.all([...slow.connections].map(socket => closed(socket)))
})

test('a host name that does not resolve is a failure of the peer', async t => {
  const holder = { ...holderAt('node', 1, await createCredentials()), host: 'nobody.invalid' }
  const fetcher = openFetcher(t)
  await assert.rejects(fetcher.open(holder, blob.digest, 0, t.signal), { code: 'PEER_FAILED' })
})
