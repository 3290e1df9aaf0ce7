import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { after, before, test } from 'node:test'
import { pullImage, pushImage } from '../../src/demo/client.ts'
import { type MadeBlob, makeImage } from '../../src/demo/image.ts'
import { digestOf } from '../../src/digest.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import { type RoundRobin, startRoundRobin } from '../helpers/round-robin.ts'
import { until } from '../helpers/until.ts'

/**
 * Three nodes behind one address that sends each request to the next of them, as a Service in front
 * of a DaemonSet may: no two requests of a push reach the same node in a row.
 */
let cluster: Cluster
let nodes: readonly Daemon[]
let one: Daemon
let proxy: RoundRobin

before(async () => {
  ;({ cluster, nodes } = await Cluster.start(3))
  ;[one] = nodes as [Daemon]
  proxy = await startRoundRobin(nodes.map(({ addresses }) => addresses.registry))
})

after(async () => {
  await proxy?.[Symbol.asyncDispose]()
  await cluster?.close()
})

/** As a client does that keeps the host it was given, and is told paths only. */
function ask(path: string, init: RequestInit = {}): Promise<Response> {
  return fetch(`http://${proxy.address}${path}`, init)
}

async function begin(repository: string): Promise<string> {
  const response = await ask(`/v2/${repository}/blobs/uploads/`, { method: 'POST' })
  assert.equal(response.status, 202)
  return locationOf(response)
}

function locationOf(response: Response): string {
  const location = response.headers.get('location') ?? ''
  assert.match(location, /^\/v2\//)
  return location
}

test('POST reaches one node, PATCH another and PUT a third', async () => {
  const bytes = randomBytes(3_000_000)
  const from = proxy.taken.length
  let location = await begin('app')
  for (const [start, end] of [
    [0, 1_000_000],
    [1_000_000, 2_500_000]
  ] as const) {
    const patched = await ask(location, {
      method: 'PATCH',
      headers: { 'content-range': `${start}-${end - 1}` },
      body: bytes.subarray(start, end)
    })
    assert.equal(patched.status, 202, await patched.text())
    assert.equal(patched.headers.get('range'), `0-${end - 1}`)
    location = locationOf(patched)
  }
  const status = await ask(location)
  assert.equal(status.status, 204)
  assert.equal(status.headers.get('range'), '0-2499999')
  const digest = digestOf(bytes)
  const closed = await ask(`${locationOf(status)}?digest=${digest}`, {
    method: 'PUT',
    body: bytes.subarray(2_500_000)
  })
  assert.equal(closed.status, 201, await closed.text())
  const targets = proxy.taken.slice(from).map(({ target }) => target)
  assert.deepEqual(new Set(targets.slice(0, 3)), new Set([0, 1, 2]))
  for (const _ of nodes) {
    const pulled = await ask(`/v2/app/blobs/${digest}`)
    assert.equal(digestOf(Buffer.from(await pulled.arrayBuffer())), digest)
  }
})

test('an upload is cancelled by way of any node, and then unknown to all', async () => {
  const location = await begin('app')
  assert.equal((await ask(location, { method: 'DELETE' })).status, 204)
  for (const method of ['GET', 'PATCH', 'PUT']) {
    const query = method === 'PUT' ? `?digest=${digestOf(Buffer.alloc(0))}` : ''
    const response = await ask(location + query, { method })
    assert.equal(response.status, 404)
    assert.match(await response.text(), /BLOB_UPLOAD_UNKNOWN/)
  }
})

test('skopeo copies an image in, request by request, and anybody pulls it', async () => {
  const image = makeImage([2_000_000, 300])
  const expect = async (status: number, response: Promise<Response>): Promise<Response> => {
    const answer = await response
    assert.equal(answer.status, status, `${answer.url} ${await answer.clone().text()}`)
    return answer
  }
  /** containers/image: a failed mount is cancelled, the blob streamed in chunks, and closed empty. */
  const push = async (blob: MadeBlob) => {
    await expect(404, ask(`/v2/team/tool/blobs/${blob.digest}`, { method: 'HEAD' }))
    const mount = `?mount=${blob.digest}&from=some%2Fother`
    const offered = await expect(
      202,
      ask(`/v2/team/tool/blobs/uploads/${mount}`, { method: 'POST' })
    )
    await expect(204, ask(locationOf(offered), { method: 'DELETE' }))
    const location = await begin('team/tool')
    const headers = { 'content-type': 'application/octet-stream' }
    const body = Readable.toWeb(Readable.from(blob.bytes()))
    const streamed = { method: 'PATCH', headers, body, duplex: 'half' } as RequestInit
    const patched = await expect(202, ask(location, streamed))
    const close = `${locationOf(patched)}?digest=${encodeURIComponent(blob.digest)}`
    await expect(201, ask(close, { method: 'PUT', headers }))
  }
  await expect(200, ask('/v2/'))
  for (const blob of image.blobs) await push(blob)
  await expect(
    201,
    ask('/v2/team/tool/manifests/v1', {
      method: 'PUT',
      headers: { 'content-type': image.mediaType },
      body: image.manifest
    })
  )
  const from = { registry: proxy.address, repository: 'team/tool', tag: 'v1' }
  for (const _ of nodes) assert.equal(await pullImage(from), image.sizeBytes)
})

test('several clients push images at once through the one address', async () => {
  const pushes = Array.from({ length: 4 }, async (_, index) => {
    const image = makeImage([700_000, 50_000])
    const to = { registry: proxy.address, repository: `many/${index}`, tag: 'v1' }
    await pushImage(to, image)
    assert.equal(await pullImage(to), image.sizeBytes)
  })
  await Promise.all(pushes)
})

test('503 while the node of an upload is live and does not answer, 404 once it is away', async () => {
  const response = await fetch(`http://${one.addresses.registry}/v2/app/blobs/uploads/`, {
    method: 'POST'
  })
  const location = locationOf(response)
  const others = nodes.filter(node => node !== one)
  const statuses = () =>
    Promise.all(
      others.map(async ({ addresses }) => {
        const response = await fetch(`http://${addresses.registry}${location}`)
        return `${response.status} ${/[A-Z_]{6,}/.exec(await response.text())?.[0]}`
      })
    )
  await one.kill()
  assert.deepEqual(await statuses(), ['503 UNAVAILABLE', '503 UNAVAILABLE'])
  const unknown = '404 BLOB_UPLOAD_UNKNOWN'
  await until(async () => (await statuses()).every(status => status === unknown), {
    what: 'the upload to be unknown'
  })

  const restarted = await cluster.restart(one, 'kept')
  await restarted.ready()
  await until(async () => (await statuses()).every(status => status === '204 undefined'), {
    what: 'the upload to go on'
  })
})
