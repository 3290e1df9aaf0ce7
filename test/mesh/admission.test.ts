import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { test } from 'node:test'
import { parseAddress } from '../../src/mesh/address.ts'
import { REFUSAL, SLOW } from '../../src/mesh/refusals.ts'
import { allLive, Flock, remembering, SECRET, until } from './helpers/flock.ts'

const OTHER = Buffer.alloc(32, 2)
const HANDSHAKE_TIMEOUT_MS = 400

test('with a different secret a node connects to nothing, and both logs say so', async context => {
  const flock = new Flock(context)
  const [logOfA, logOfB] = [remembering(), remembering()]
  const a = await flock.add('a', { log: logOfA.log })
  const b = await flock.add('b', { join: [a.address], keys: () => [OTHER], log: logOfB.log })
  const said = ({ lines }: { lines: string[] }) => lines.filter(line => line.includes(REFUSAL))
  await until(() => said(logOfA).length > 0 && said(logOfB).length > 0)
  assert.deepEqual([a.peers(), b.peers()], [[], []])
  assert.equal(b.discovery().answered, false)
  assert.equal(b.discovery().alone, false)
  await until(() => b.discovery().refusedBy.length > 0)
  assert.deepEqual(b.discovery().refusedBy, [{ address: a.address, reason: REFUSAL }])
})

test('an address refuses a node until it lets it in', async context => {
  const flock = new Flock(context)
  const a = await flock.add('a')
  let secret = OTHER
  const b = await flock.add('b', { join: [a.address], keys: () => [secret] })
  await until(() => b.discovery().refusedBy.length > 0)
  secret = SECRET
  await until(() => allLive([a, b]))
  assert.deepEqual(b.discovery().refusedBy, [])
})

test('a secret rotates: the new one is accepted while the old one is still dialled with', async context => {
  const flock = new Flock(context)
  const a = await flock.add('a', { keys: () => [OTHER, SECRET] })
  const b = await flock.add('b', { join: [a.address], keys: () => [SECRET, OTHER] })
  const c = await flock.add('c', { join: [a.address], keys: () => [OTHER] })
  await until(() => allLive([a, b, c]))
})

for (const [what, bytes, words] of [
  ['silence', '', SLOW],
  ['an HTTP request', 'GET / HTTP/1.1\r\nhost: example\r\n\r\n', REFUSAL],
  ['our preamble and then silence', 'starling/1\n', SLOW],
  ['our preamble and a wrong proof', `starling/1\n${'x'.repeat(64)}`, REFUSAL],
  ['a megabyte of garbage', 'x'.repeat(1024 * 1024), REFUSAL]
] as const) {
  test(`${what} on the port is cut off within the limit, and called what it is`, async context => {
    const flock = new Flock(context)
    const { log, lines } = remembering()
    // What is refused is refused long before the usual limit, also on a busy machine.
    const limit = words === SLOW ? { handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS } : {}
    const a = await flock.add('a', { log, ...limit })
    const socket = connect(parseAddress(a.address))
    socket.on('error', () => {})
    const closed = new Promise(resolve => socket.once('close', resolve))
    await once(socket, 'connect')
    socket.write(bytes)
    socket.resume()
    await closed
    await until(() => lines.some(line => line.includes(words)))
    assert.deepEqual(a.peers(), [])
  })
}

test('dialling something that is not Starling ends within the limit and says so', async context => {
  const flock = new Flock(context)
  const server = createServer(socket => {
    socket.on('error', () => {})
    socket.end('SSH-2.0-OpenSSH_9.6\r\n')
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  context.after(() => server.close())
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const { log, lines } = remembering()
  await flock.add('a', { log, join: [`127.0.0.1:${address.port}`] })
  await until(() => lines.some(line => line.includes(REFUSAL)))
})

test('dialling something that takes connections and is too busy to answer is no refusal', async context => {
  const flock = new Flock(context)
  const server = createServer(socket => socket.on('error', () => {}))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  context.after(() => server.close())
  const address = server.address()
  assert.ok(typeof address === 'object' && address !== null)
  const { log, lines } = remembering()
  const join = [`127.0.0.1:${address.port}`]
  await flock.add('a', { log, join, handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS })
  await until(() => lines.some(line => line.includes(SLOW)))
  assert.deepEqual(
    lines.filter(line => line.includes(REFUSAL)),
    []
  )
})
