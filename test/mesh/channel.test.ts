import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Channel, ChannelLimits } from '../../src/mesh/channel.ts'
import { FrameReader, frameOf } from '../../src/mesh/frames.ts'
import type { Mesh } from '../../src/mesh/mesh.ts'
import { type BirdOptions, Flock, until } from './helpers/flock.ts'

const LIMITS: ChannelLimits = { maxFrameBytes: 1024 * 1024, maxQueuedBytes: 4 * 1024 * 1024 }

interface Talker {
  readonly mesh: Mesh
  readonly channel: Channel
  /** What was heard, and when others came and went. */
  readonly heard: string[]
}

async function talker(
  flock: Flock,
  name: string,
  options: BirdOptions = {},
  onMessage: (bytes: Buffer) => void = () => {}
): Promise<Talker> {
  const mesh = await flock.open(name, options)
  const heard: string[] = []
  const channel = mesh.channel('test', LIMITS, (_peer, bytes) => {
    onMessage(bytes)
    heard.push(bytes.length > 100 ? String(bytes.length) : bytes.toString())
  })
  channel.onUp(() => heard.push('up'))
  channel.onDown(() => heard.push('down'))
  await flock.start(mesh)
  return { mesh, channel, heard }
}

async function pair(context: TestContext, onMessage?: (bytes: Buffer) => void) {
  const flock = new Flock(context)
  const a = await talker(flock, 'a', {}, onMessage)
  const b = await talker(flock, 'b', { join: [a.mesh.address] })
  await until(() => a.channel.peers().length === 1 && b.channel.peers().length === 1)
  return { a, b }
}

test('messages of all sizes arrive in order, both ways at once', async context => {
  const { a, b } = await pair(context)
  const sizes = Array.from({ length: 20 }, (_, index) => 101 + ((index * 104_729) % 1_000_000))
  for (const size of sizes) {
    await until(() => a.channel.send(b.mesh.id, Buffer.alloc(size)))
    await until(() => b.channel.send(a.mesh.id, Buffer.alloc(size)))
    await until(() => a.heard.at(-1) === String(size) && b.heard.at(-1) === String(size))
  }
  for (const { heard } of [a, b]) assert.deepEqual(heard, ['up', ...sizes.map(String)])
})

test('an empty message and one of the greatest size arrive; nobody else can be sent to', async context => {
  const { a, b } = await pair(context)
  assert.equal(a.channel.send(b.mesh.id, Buffer.of()), true)
  assert.equal(a.channel.send(b.mesh.id, Buffer.alloc(LIMITS.maxFrameBytes)), true)
  await until(() => b.heard.length === 3)
  assert.deepEqual(b.heard, ['up', '', String(LIMITS.maxFrameBytes)])
  assert.equal(a.channel.send('nobody', Buffer.of(1)), false)
})

test('what is said at the moment of coming up is the first that is heard', async context => {
  const flock = new Flock(context)
  const a = await talker(flock, 'a')
  a.channel.onUp(peer => a.channel.send(peer, Buffer.from('hello')))
  const b = await talker(flock, 'b', { join: [a.mesh.address] })
  await until(() => b.heard.includes('hello'))
  assert.deepEqual(
    b.heard.filter(line => line !== 'up'),
    ['hello']
  )
})

test('a peer too slow for what is sent to it is begun anew, and hears nothing twice', async context => {
  const { a, b } = await pair(context)
  // All in one go: the network gets no chance to take any of it.
  let sent = 0
  while (a.channel.send(b.mesh.id, Buffer.alloc(1_000_000))) sent += 1
  assert.ok(sent >= 4 && sent < 12, `${sent} were taken`)
  assert.equal(a.channel.send(b.mesh.id, Buffer.from('lost')), false)
  await until(() => a.heard.length === 3)
  assert.deepEqual(a.heard, ['up', 'down', 'up'])
  assert.equal(a.channel.send(b.mesh.id, Buffer.from('fresh')), true)
  await until(() => b.heard.includes('fresh'))
  assert.ok(!b.heard.includes('lost'))
})

test('a message that is not understood, or too long, begins its sender anew', async context => {
  const { a, b } = await pair(context, bytes => {
    if (bytes.toString() === 'nonsense') throw new Error('not understood')
  })
  for (const message of [Buffer.from('nonsense'), Buffer.alloc(LIMITS.maxFrameBytes + 1)]) {
    const before = b.heard.length
    b.channel.send(a.mesh.id, message)
    await until(() => b.heard.length === before + 2)
    assert.deepEqual(b.heard.slice(before), ['down', 'up'])
    b.channel.send(a.mesh.id, Buffer.from('sense'))
    const after = message.length < 100 ? ['up', 'sense'] : ['up', 'sense', 'sense']
    await until(() => a.heard.length === after.length)
    assert.deepEqual(a.heard, after)
  }
})

test('a peer that leaves goes down, and comes up again', async context => {
  const flock = new Flock(context)
  const a = await talker(flock, 'a')
  const dataDir = await flock.dataDir()
  const options = { dataDir, join: [a.mesh.address] }
  const first = await talker(flock, 'b', options)
  await until(() => a.heard.includes('up'))
  await first.mesh.close()
  await until(() => a.heard.at(-1) === 'down')
  const again = await talker(flock, 'b', options)
  await until(() => a.heard.at(-1) === 'up')
  a.channel.send(again.mesh.id, Buffer.from('welcome'))
  await until(() => again.heard.includes('welcome'))
})

test('a node without the channel is not up, and nothing else suffers', async context => {
  const flock = new Flock(context)
  const a = await talker(flock, 'a')
  const b = await flock.add('b', { join: [a.mesh.address] })
  await until(() => a.mesh.peer(b.id)?.connected === true)
  assert.equal(a.channel.send(b.id, Buffer.of(1)), false)
  assert.deepEqual(a.channel.peers(), [])
})

test('messages are put together from portions of any size', () => {
  const messages = ['', 'a', 'some words', 'x'.repeat(1_000)].map(text => Buffer.from(text))
  const wire = Buffer.concat(messages.map(frameOf))
  for (const portion of [1, 3, 5, 7, 500, wire.length]) {
    const reader = new FrameReader(1_000)
    const got: Buffer[] = []
    for (let at = 0; at < wire.length; at += portion) {
      got.push(...reader.push(wire.subarray(at, at + portion)))
    }
    assert.deepEqual(got, messages)
  }
  assert.throws(() => [...new FrameReader(999).push(wire)], { code: 'PEER_FAILED' })
})

test('bytes on the wire are counted', async context => {
  const flock = new Flock(context)
  const counted = { received: 0, sent: 0 }
  const a = await talker(flock, 'a', {
    onBytes: (way, bytes) => {
      counted[way] += bytes
    }
  })
  const b = await talker(flock, 'b', { join: [a.mesh.address] })
  await until(() => a.channel.peers().length === 1 && b.channel.peers().length === 1)
  const before = { ...counted }
  a.channel.send(b.mesh.id, Buffer.alloc(500_000))
  await until(() => b.heard.includes('500000'))
  assert.ok(counted.sent - before.sent >= 500_000)
  assert.ok(counted.received - before.received < 100_000)
})
