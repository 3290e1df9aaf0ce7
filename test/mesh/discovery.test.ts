import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isCode } from '../../src/errors.ts'
import { parseAddress } from '../../src/mesh/address.ts'
import { parseJoin } from '../../src/mesh/join.ts'
import { allLive, Flock, until } from './helpers/flock.ts'

test('a node that is to join only itself knows that it is alone', async context => {
  const flock = new Flock(context)
  const probe = await flock.add('probe')
  const { port } = parseAddress(probe.address)
  await probe.close()
  const listen = { host: '127.0.0.1', port }
  const a = await flock.add('a', { listen, join: [`127.0.0.1:${port}`] })
  await until(() => a.discovery().answered)
  assert.deepEqual(a.discovery(), {
    ...{ configured: true, answered: true, alone: true },
    refusedBy: []
  })
})

test('a node with nothing to join is alone; one whose join does not answer cannot know', async context => {
  const flock = new Flock(context)
  const a = await flock.add('a')
  assert.deepEqual(a.discovery(), {
    ...{ configured: false, answered: false, alone: true },
    refusedBy: []
  })
  const address = a.address
  await a.close()
  const b = await flock.add('b', { join: [address] })
  assert.deepEqual(b.discovery(), {
    ...{ configured: true, answered: false, alone: false },
    refusedBy: []
  })
})

test('a DNS name is dialled at all its addresses, and is asked again', async context => {
  const flock = new Flock(context)
  const a = await flock.add('a')
  const { port } = parseAddress(a.address)
  let asked = 0
  const resolve = async (name: string) => {
    asked += 1
    assert.equal(name, 'starling.example')
    if (asked === 1) throw new Error('no such name yet')
    return ['127.0.0.99', '127.0.0.1']
  }
  const b = await flock.add('b', { join: [`dns:starling.example:${port}`], resolve })
  await until(() => allLive([a, b]))
  assert.ok(asked >= 2)
})

test('what to join is host:port, dns:NAME:port or mdns', () => {
  assert.equal(parseJoin('10.0.0.1:5052').kind, 'static')
  assert.equal(parseJoin('[fe80::1]:5052').kind, 'static')
  assert.equal(parseJoin('node-1.example:5052').kind, 'static')
  assert.equal(parseJoin('dns:starling.default.svc:5052').kind, 'dns')
  assert.equal(parseJoin('mdns').kind, 'mdns')
  for (const wrong of ['', 'host', 'host:0', 'host:65536', 'dns:name', 'http://host:1', 'a b:1']) {
    assert.throws(
      () => parseJoin(wrong),
      error => isCode(error, 'CONFIG_INVALID')
    )
  }
})
