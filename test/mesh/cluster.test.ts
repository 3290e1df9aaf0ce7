import assert from 'node:assert/strict'
import { cp } from 'node:fs/promises'
import { test } from 'node:test'
import { allLive, Flock, isLive, MORTAL, until, VITALS } from './helpers/flock.ts'

test('twenty nodes behind one address boot at once without tripping a limit of libp2p', async context => {
  const flock = new Flock(context)
  const hub = await flock.add('hub')
  await Promise.all(
    Array.from({ length: 19 }, async (_, index) => {
      const join = [hub.address]
      const node = await flock.open(`n${index}`, { join })
      // All through the hub: from there 19 peers share one address, which default scoring punishes
      // from the eleventh on, and they come faster than five a second, ten at a time.
      node.on('connected', peer => assert.equal(peer, hub.id))
      await flock.start(node)
      flock.hide(node)
    })
  )
  await until(() => hub.peers().filter(peer => peer.connected).length === 19)
  const heard = new Set<string>()
  const [speaker] = flock.meshes.filter(mesh => mesh !== hub)
  assert.ok(speaker)
  for (const mesh of flock.meshes) mesh.onGossip(() => heard.add(mesh.id))
  await until(() => {
    speaker.publish(Buffer.from('news'))
    return heard.size === 19
  })
  await until(() => allLive(flock.meshes))
})

test('nodes that are not connected hear each other through a third', async context => {
  const flock = new Flock(context, MORTAL)
  const middle = await flock.add('middle')
  const left = await flock.add('left', {
    join: [middle.address],
    self: () => ({ ...VITALS, root: 'of left' })
  })
  flock.hide(left)
  const right = await flock.open('right', { join: [middle.address] })
  await flock.start(right)
  flock.hide(right)
  left.on('connected', peer => assert.equal(peer, middle.id))
  await until(() => allLive([left, middle, right]))
  await until(() => right.peer(left.id)?.beat?.root === 'of left')
  assert.equal(right.peer(left.id)?.connected, false)
  assert.equal(right.peer(left.id)?.transfer, undefined)
})

test('of two nodes with one identity the later one is told to stop', async context => {
  const flock = new Flock(context, MORTAL)
  const witness = await flock.add('witness')
  const [original, copy] = [await flock.dataDir(), await flock.dataDir()]
  const earlier = await flock.add('a', { dataDir: original, join: [witness.address] })
  await until(() => isLive(witness, earlier.id))
  earlier.on('duplicate', () => assert.fail('the earlier one must go on'))
  await cp(original, copy, { recursive: true })
  const later = await flock.open('a', { dataDir: copy, join: [witness.address] })
  assert.equal(later.id, earlier.id)
  const told = new Promise<string>(resolve => later.on('duplicate', resolve))
  await later.start()
  assert.equal(await told, earlier.boot)
  await later.close()
  await until(() => earlier.peer(witness.id)?.connected === true)
})

test('a node restarted at once is not taken for its own twin', async context => {
  const flock = new Flock(context, MORTAL)
  const witness = await flock.add('witness')
  const dataDir = await flock.dataDir()
  for (let round = 0; round < 3; round += 1) {
    const node = await flock.add('a', { dataDir, join: [witness.address] })
    node.on('duplicate', () => assert.fail('it is alone'))
    await until(() => witness.peer(node.id)?.beat?.boot === node.boot)
    if (round < 2) await node.close()
    else await until(() => (witness.peer(node.id)?.beat?.sequence ?? 0) > 8)
  }
})

test('closing leaves no socket, server or timer behind', async context => {
  const flock = new Flock(context, MORTAL)
  const held = () =>
    process.getActiveResourcesInfo().filter(kind => /TCP|Timeout|Immediate/.test(kind)).length
  const before = held()
  const a = await flock.add('a')
  const b = await flock.add('b', { join: [a.address, '127.0.0.1:1'] })
  await until(() => allLive([a, b]))
  await Promise.all([a.close(), b.close(), b.close()])
  await until(() => held() <= before)
})

test('a forgotten node is gone, and returns when it comes in person', async context => {
  const flock = new Flock(context, MORTAL)
  const a = await flock.add('a')
  const dataDir = await flock.dataDir()
  const b = await flock.add('b', { dataDir, join: [a.address] })
  await until(() => allLive([a, b]))
  await b.close()
  await until(() => a.peer(b.id)?.state === 'away')
  a.forget(b.id)
  assert.equal(a.peer(b.id)?.state, 'gone')
  assert.equal(a.isPinned('ab'.repeat(32)), undefined)
  await flock.add('b', { dataDir, join: [a.address] })
  await until(() => isLive(a, b.id))
})
