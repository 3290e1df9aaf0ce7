import assert from 'node:assert/strict'
import { access, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { clientOfData, clientOfUrl } from '../../src/admin/client.ts'
import { controlSocket, openControl } from '../../src/admin/control.ts'
import { AdminServer } from '../../src/admin/server.ts'
import { isCode, systemCode } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { ScriptedNode, STATUS } from './scripted-node.ts'

const { signal } = new AbortController()
const page = { limit: 10, after: { repository: 'a', tag: 'b' } }
let root = ''
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'starling-control-'))
})
after(() => rm(root, { recursive: true }))

test('the command line finds a node by its data directory, and only its owner may', async () => {
  await using node = await openNode()
  const client = clientOfData(node.dataDir)
  assert.deepEqual(await client.status(page, signal), STATUS)
  assert.deepEqual(node.introspection.pages[0]?.after, { kind: 'tag', repository: 'a', tag: 'b' })
  const copies = await client.copies({ kind: 'tag', repository: 'a', tag: 'b' }, signal)
  assert.equal(copies.reference, 'a:b')
  const { mode } = await stat(controlSocket(node.dataDir))
  assert.equal(mode & 0o777, 0o600)
})

test('a socket that a killed node left behind is replaced', async () => {
  const dataDir = await mkdtemp(join(root, 'data-'))
  await writeFile(controlSocket(dataDir), '')
  await using node = await openNode(dataDir)
  assert.deepEqual(await clientOfData(node.dataDir).status(page, signal), STATUS)
})

test('a second node on the same data is refused and leaves the first reachable', async () => {
  await using node = await openNode()
  await assert.rejects(openNode(node.dataDir), error => isCode(error, 'DATA_LOCKED'))
  assert.deepEqual(await clientOfData(node.dataDir).status(page, signal), STATUS)
})

test('a node that has stopped leaves no socket and is told from one that never was', async () => {
  const node = await openNode()
  await node[Symbol.asyncDispose]()
  await assert.rejects(access(controlSocket(node.dataDir)), error => systemCode(error) === 'ENOENT')
  await assert.rejects(
    clientOfData(node.dataDir).status(page, signal),
    error => isCode(error, 'UNAVAILABLE') && error.message.includes(controlSocket(node.dataDir))
  )
})

test('a node is also reached at the address of its admin port', async () => {
  const listen = { host: '127.0.0.1', port: 0 }
  const introspection = new ScriptedNode()
  const server = await AdminServer.open({ listen, introspection, log: silentLog })
  const client = clientOfUrl(new URL(`http://127.0.0.1:${server.port}/`))
  assert.deepEqual(await client.status(page, signal), STATUS)
  await server.close()
  await assert.rejects(client.status(page, signal), error => isCode(error, 'UNAVAILABLE'))
})

test('a stranger at the address is not taken for a node', async () => {
  const stranger = createServer((request, response) => {
    response.writeHead(request.url?.startsWith('/status') === true ? 200 : 302).end('<html>')
  })
  await new Promise<void>(resolve => stranger.listen(0, '127.0.0.1', resolve))
  const address = stranger.address()
  const port = typeof address === 'object' ? address?.port : undefined
  const client = clientOfUrl(new URL(`http://127.0.0.1:${port}`))
  const reference = { kind: 'tag', repository: 'a', tag: 'b' } as const
  await assert.rejects(client.status(page, signal), error => isCode(error, 'UNSUPPORTED'))
  await assert.rejects(client.copies(reference, signal), error => isCode(error, 'UNSUPPORTED'))
  stranger.close()
})

test('a question can be given up', async () => {
  await using node = await openNode()
  const signal = AbortSignal.abort()
  await assert.rejects(clientOfData(node.dataDir).status(page, signal), { name: 'AbortError' })
})

async function openNode(given?: string) {
  const dataDir = given ?? (await mkdtemp(join(root, 'data-')))
  const introspection = new ScriptedNode()
  const operations = introspection
  const server = await openControl({ dataDir, introspection, operations, log: silentLog })
  return { dataDir, introspection, [Symbol.asyncDispose]: () => server.close() }
}
