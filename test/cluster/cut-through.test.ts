import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { until } from '../helpers/until.ts'
import { type Node, Nodes } from './nodes.ts'

const MiB = 1024 * 1024
const REPOSITORY = 'team/app'

test('a push is passed on while it comes in, though its digest is told only at its end', async t => {
  const nodes = await Nodes.open(t)
  const [one, two, three] = await nodes.startAll(3)
  assert.ok(one && two && three)
  const blob = randomBytes(8 * MiB + 77)
  const location = await open(one)
  const sent = await patch(one, location, blob.subarray(0, 6 * MiB), 0)
  for (const node of [two, three]) {
    await has(node, 5 * MiB)
    assert.deepEqual(await held(node), { held: 0, missing: 0, bytesHeld: 0 })
    assert.equal((await node.status()).transfers.length, 0)
  }
  const last = await patch(one, sent, blob.subarray(6 * MiB), 6 * MiB)
  const before = await one.metric('starling_bytes_sent_total', { plane: 'transfer' })
  assert.ok(before < 3 * blob.length)
  assert.equal(await close(one, last, blob), 201)
  for (const node of [two, three]) {
    await node.until('to hold the blob', ({ blobs }) => blobs.held === 1)
    await isEmpty(node)
    await node.logs('blob fetched in pieces')
  }
})

test('of a push that is given up nothing is left on any node', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = await nodes.startAll(2)
  assert.ok(one && two)
  const location = await open(one)
  const sent = await patch(one, location, randomBytes(4 * MiB), 0)
  await has(two, 2 * MiB)
  assert.equal(await one.statusCode(sent, { method: 'DELETE' }), 204)
  for (const node of [one, two]) {
    await isEmpty(node)
    assert.deepEqual(await held(node), { held: 0, missing: 0, bytesHeld: 0 })
  }
})

test('of a push to a node that dies nothing is left on the others', async t => {
  const nodes = await Nodes.open(t)
  const [one, two] = await nodes.startAll(2, { deadAfter: '2s' })
  assert.ok(one && two)
  await patch(one, await open(one), randomBytes(4 * MiB), 0)
  await has(two, 2 * MiB)
  await one.stop()
  await isEmpty(two)
  assert.deepEqual(await held(two), { held: 0, missing: 0, bytesHeld: 0 })
})

async function open(node: Node): Promise<string> {
  const response = await node.get(`/v2/${REPOSITORY}/blobs/uploads/`, { method: 'POST' })
  await response.arrayBuffer()
  return response.headers.get('location') ?? ''
}

/** Sends a part of a blob; gives where the push goes on. */
async function patch(node: Node, path: string, body: Buffer, start: number): Promise<string> {
  const headers = {
    'content-type': 'application/octet-stream',
    'content-range': `${start}-${start + body.length - 1}`
  }
  const response = await node.get(path, { method: 'PATCH', headers, body: new Uint8Array(body) })
  await response.arrayBuffer()
  assert.equal(response.status, 202)
  return response.headers.get('location') ?? ''
}

function close(node: Node, path: string, blob: Buffer): Promise<number> {
  const digest = `sha256:${createHash('sha256').update(blob).digest('hex')}`
  return node.statusCode(`${path}?digest=${digest}`, { method: 'PUT' })
}

async function held(node: Node) {
  return (await node.status()).blobs
}

/** Waits until a node has taken so many bytes from its peers. */
async function has(node: Node, bytes: number): Promise<void> {
  const enough = async () =>
    (await node.metric('starling_bytes_received_total', { plane: 'transfer' })) >= bytes
  await until(enough, { what: `${bytes} bytes on ${node.name}` })
  assert.notDeepEqual(await partials(node), [])
}

async function isEmpty(node: Node): Promise<void> {
  const empty = async () => (await partials(node)).length === 0
  await until(empty, { what: `nothing left over on ${node.name}` })
}

function partials({ dataDir }: Node): Promise<string[]> {
  return readdir(join(dataDir, 'partial'))
}
