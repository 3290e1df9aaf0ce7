/** What who may only pull does to a node by asking. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../../src/digest.ts'
import { type Node, Nodes } from '../../cluster/nodes.ts'
import { until } from '../../helpers/until.ts'
import { basic, htpasswd, temporaryFile } from './fixture.ts'

const ANN = basic('ann', 'a')
const EVE = basic('eve', 'e')
const RULES = `
repositories:
  '**': { pull: [ann, eve], push: [ann], delete: [ann] }
`
const BYTES = Buffer.from('soon called for by nothing')
const BLOB = `/v2/app/blobs/${digestOf(BYTES)}`

test('a question of who may not push keeps no blob from being collected, whoever it is put to', async t => {
  const nodes = await Nodes.open(t)
  const users = {
    htpasswd: (await temporaryFile(t, htpasswd({ ann: 'a', eve: 'e' }))).path,
    policy: (await temporaryFile(t, RULES)).path
  }
  const one = await nodes.start('one', { ...users, lease: '4s', gcGrace: '1ms' })
  const bare = await nodes.start('bare', { ...users, hold: 'none', join: [one.mesh] })
  const pushTo = (node: Node) => () => {
    const path = `/v2/app/blobs/uploads/?digest=${digestOf(BYTES)}`
    return node.statusCode(path, { method: 'POST', headers: ANN, body: BYTES })
  }
  for (const node of [one, bare]) {
    const push = pushTo(node)
    await until(async () => (await push()) === 201, { what: 'the push' })
    const head = () => node.statusCode(BLOB, { method: 'HEAD', headers: EVE })
    assert.equal(await head(), 200)
    await until(async () => (await head()) === 404, { what: 'the end of it' })
  }
})
