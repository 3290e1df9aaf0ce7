import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { Gathering } from '../../src/swarm/gathering.ts'
import { until } from '../helpers/until.ts'

/** What the kernel was told, as `descriptor:bytes`. */
function recorded() {
  const told: string[] = []
  const setReceiveLowWater = (socket: number, bytes: number) => {
    told.push(`${socket}:${bytes}`)
  }
  return { told, gathering: new Gathering(() => ({ setReceiveLowWater })) }
}

const socketOf = (fd: number) => ({ _handle: { fd } }) as unknown as Socket

test('what is read from in one turn rests together, and is read on together', async () => {
  const { told, gathering } = recorded()
  const [a, b] = [socketOf(7), socketOf(8)]
  for (const socket of [a, b, a]) gathering.took(socket, 1_000)
  assert.deepEqual(told, [], 'there may be more to read in this turn')
  await until(() => told.length === 4, { what: 'the sockets to be read on', intervalMs: 1 })
  assert.deepEqual(told, ['7:524288', '8:524288', '7:1', '8:1'])
})

test('who brings much at a time is read at once', async () => {
  const { told, gathering } = recorded()
  gathering.took(socketOf(7), 8 * 1024 * 1024)
  await setImmediate()
  await setImmediate()
  assert.deepEqual(told, [])
})

test('a connection that has ended meanwhile is let alone', async () => {
  const { told, gathering } = recorded()
  const [ended, other] = [socketOf(7), socketOf(8)]
  for (const socket of [ended, other]) gathering.took(socket, 1_000)
  await until(() => told.length === 2, { what: 'the sockets to rest', intervalMs: 1 })
  ;(ended as unknown as { _handle: null })._handle = null
  await until(() => told.length === 3, { what: 'the other to be read on', intervalMs: 1 })
  assert.deepEqual(told.at(-1), '8:1')
})

test('all that drips in is read, to the last byte', async t => {
  const drop = Buffer.alloc(1_000, 'x')
  const gathering = new Gathering()
  const server = createServer({ noDelay: true }, async socket => {
    for (let count = 0; count < 200; count++) {
      socket.write(drop)
      await setImmediate()
    }
    // What is left is less than any socket waits for.
    await once(socket, 'data')
    socket.end()
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  let bytes = 0
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    gathering.took(socket, chunk.length)
    bytes += chunk.length
    if (bytes === 200 * drop.length) socket.write('thanks')
  }
  assert.equal(bytes, 200 * drop.length)
})
