/**
 * A process killed in the middle of taking in a blob of 1 GiB, from a client and from a peer: what
 * is under a final name is whole all the same, and the blob arrives after the next start.
 */
import assert from 'node:assert/strict'
import { afterEach, type TestContext, test } from 'node:test'
import { partialBytes, verifyBlobFiles } from '../helpers/blob-files.ts'
import { Cluster } from '../helpers/cluster.ts'
import type { Daemon } from '../helpers/daemon.ts'
import {
  type BlobContent,
  digestOfContent,
  largeContent,
  RegistryClient
} from '../helpers/registry.ts'
import { until } from '../helpers/until.ts'

const MIB = 1024 * 1024
const SIZE_BYTES = 1024 * MIB
/** Where the process is killed: far from both ends, and not at a round number of MiB. */
const KILLED_AT_BYTES = 400 * MIB + 12_345
/** The limit on the memory of a node, whatever the size of a blob. */
const RSS_LIMIT_BYTES = 250 * MIB
const RECEIVE_TIMEOUT_MS = 120_000
const REPOSITORY = 'large/blob'

let cluster: Cluster | undefined

afterEach(async () => {
  await cluster?.close()
  cluster = undefined
})

test('a node killed in the middle of a push of 1 GiB takes the push after its start', async t => {
  cluster = await Cluster.open()
  const node = await (await cluster.node('node-1')).ready()
  const content = largeContent(SIZE_BYTES, 1)
  const digest = digestOfContent(content)
  const client = new RegistryClient(node.addresses.registry)
  const session = await client.openPush(REPOSITORY)
  await assert.rejects(
    client.stream(
      session,
      thenOnce(content, () => node.signal('SIGKILL'))
    )
  )
  client.close()
  await node.kill()
  await verifyBlobFiles(node.options.dataDir)

  const again = await (await cluster.restart(node, 'kept')).ready()
  await verifyBlobFiles(again.options.dataDir)
  const resumed = new RegistryClient(again.addresses.registry)
  const open = (await resumed.pushState(session)) ?? (await resumed.openPush(REPOSITORY))
  t.diagnostic(`the push goes on at ${open.offsetBytes} bytes`)
  await resumed.closePush(await resumed.stream(open, content), digest)
  await resumed.tagBlob(REPOSITORY, 'one', { digest, sizeBytes: SIZE_BYTES })
  assert.equal(await resumed.pulledDigest(REPOSITORY, digest), digest)
  resumed.close()
  await verifyBlobFiles(again.options.dataDir)
  await staysSmall(t, again)
})

test('a node killed in the middle of fetching 1 GiB from a peer holds it after its start', async t => {
  cluster = await Cluster.open()
  const holder = await (await cluster.node('node-1')).ready()
  const content = largeContent(SIZE_BYTES, 2)
  const client = new RegistryClient(holder.addresses.registry)
  const digest = await client.pushBlob(REPOSITORY, content)
  await client.tagBlob(REPOSITORY, 'two', { digest, sizeBytes: SIZE_BYTES })
  client.close()

  const receiver = await cluster.node('node-2', { join: [holder.addresses.mesh] })
  const { dataDir } = receiver.options
  const arrived = await until(
    async () => {
      const bytes = await partialBytes(dataDir)
      return bytes > KILLED_AT_BYTES && bytes
    },
    { what: 'part of the blob', timeoutMs: RECEIVE_TIMEOUT_MS, intervalMs: 5 }
  )
  await receiver.kill()
  assert.ok((await verifyBlobFiles(dataDir)).bytes < SIZE_BYTES, 'it was killed too late')

  const again = await cluster.restart(receiver, 'kept')
  const counted = { count: 3, bytes: (await holder.status()).blobs.bytesHeld }
  await again.statusWhere(
    'to hold the blob',
    ({ blobs }) => blobs.missing === 0 && blobs.held === counted.count,
    RECEIVE_TIMEOUT_MS
  )
  assert.deepEqual(await verifyBlobFiles(dataDir), counted)
  const received = await again.metric('starling_bytes_received_total', { plane: 'transfer' })
  t.diagnostic(`killed at ${arrived} bytes; ${received} more came after the start`)
  assert.ok(received < SIZE_BYTES, 'it began anew though it had a part')
  await staysSmall(t, holder)
  await staysSmall(t, again)
})

/** The same content, with a call when a client has handed over {@link KILLED_AT_BYTES}. */
function thenOnce(content: BlobContent, call: () => void): BlobContent {
  return {
    sizeBytes: content.sizeBytes,
    *chunks(startBytes) {
      let offset = startBytes
      for (const chunk of content.chunks(startBytes)) {
        yield chunk
        if (offset <= KILLED_AT_BYTES && offset + chunk.length > KILLED_AT_BYTES) call()
        offset += chunk.length
      }
    }
  }
}

async function staysSmall(t: TestContext, node: Daemon): Promise<void> {
  const peakBytes = await node.peakRssBytes()
  t.diagnostic(`${node.name} had at most ${Math.round(peakBytes / MIB)} MiB resident`)
  assert.ok(peakBytes < RSS_LIMIT_BYTES, `${node.name} had ${peakBytes} bytes resident`)
}
