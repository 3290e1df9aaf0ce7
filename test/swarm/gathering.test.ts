import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { kernel } from '../../src/kernel.ts'
import { Gathering } from '../../src/swarm/gathering.ts'

const DROP = Buffer.alloc(1_000, 'x')

test('what drips in is read together, all of it and to the last byte', async t => {
  if (kernel() === undefined) return
  const gathering = new Gathering()
  const server = createServer({ noDelay: true }, async socket => {
    for (let drop = 0; drop < 150; drop++) {
      socket.write(DROP)
      await delay(1)
    }
    // What is left is less than any socket waits for.
    await once(socket, 'data')
    socket.end()
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let bytes = 0
  let reads = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    gathering.took(socket, chunk.length)
    bytes += chunk.length
    reads += 1
    if (bytes === 150 * DROP.length) socket.write('thanks')
  }
  assert.equal(bytes, 150 * DROP.length)
  assert.ok(reads < 75, `${reads} reads of 150 drops`)
})

test('a connection that has ended is let alone', async t => {
  const gathering = new Gathering()
  const server = createServer(socket => socket.end(DROP)).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  socket.on('data', chunk => gathering.took(socket, chunk.length))
  await once(socket, 'close')
  gathering.took(socket, 1)
  await delay(50)
})
